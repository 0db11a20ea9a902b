"""One verb a file: it declares arguments, calls the library, and shows the result."""
