"""`python -m ollama_proxy`: the same as the `ollama-proxy` command."""

from ollama_proxy.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
