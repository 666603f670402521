// A page whose tables stand as they were made: only what is around them lives.

import { Shell } from "./shell.js";

new Shell({ render: () => {}, heard: () => {} }).start();
