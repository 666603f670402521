// A list whose rows are kept by id: changed in place, never rebuilt, so that focus and pointer stay.

export class Rows {
  /** `make(item)` a row, `update(row, item)` its texts, `id(item)` its name in `data-id`. */
  constructor(body, make, update, id = (item) => item.id) {
    Object.assign(this, { body, make, update, id });
    this.rows = new Map([...body.children].filter((row) => row.dataset.id !== undefined)
      .map((row) => [row.dataset.id, row]));
  }

  /** Shows exactly `items`, in their order. Rows that stay do not move unless the order changed. */
  show(items) {
    const wanted = new Set(items.map(this.id));
    for (const [id, row] of this.rows) {
      if (!wanted.has(id)) {
        row.remove();
        this.rows.delete(id);
      }
    }
    let at = this.first();
    for (const item of items) {
      const id = this.id(item);
      let row = this.rows.get(id);
      if (!row) {
        row = this.make(item);
        row.dataset.id = id;
        this.rows.set(id, row);
      }
      this.update(row, item);
      if (row === at) at = at.nextElementSibling;
      else this.body.insertBefore(row, at);
    }
  }

  first() {
    let at = this.body.firstElementChild;
    while (at && at.dataset.id === undefined) at = at.nextElementSibling;
    return at;
  }

  has(id) {
    return this.rows.has(id);
  }

  get size() {
    return this.rows.size;
  }
}
