"""The ground floor: what every other room stands on, with no heavy import.

``errors`` (two families and the exit codes), ``spec`` (what travels with the weights), ``files`` (contained and atomic
files), ``child`` (a child process with limits), ``store`` (results by the hash of all that went in), ``lazy`` (optional
libraries, imported where they are used).
"""
