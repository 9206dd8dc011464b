"""What framework is measured next to: a module or a folder for each."""
