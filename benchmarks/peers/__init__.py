"""The peers that framework is compared with: a module or a folder for each."""
