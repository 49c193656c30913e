"""One file and one function a verb, of the same name. A verb returns values; only the command line prints."""
