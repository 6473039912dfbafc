"""Code that runs inside the sandbox. Standard library only; imports nothing of the rest of the project."""
