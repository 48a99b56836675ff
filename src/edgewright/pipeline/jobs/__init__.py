"""One module a verb: what the API and the command line call."""
