"""The Textual app: screens and widgets. It renders and asks, and never does the work itself."""
