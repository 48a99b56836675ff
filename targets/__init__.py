"""Devices: what a machine is and which runtimes, precisions and quantization schemes suit it, as data.

``target`` (the struct, built-in descriptions by name, a user's own TOML, is-it-this-machine), ``describe`` (in words),
``detect`` (the machine that runs this), ``jetson`` and ``nvidia`` (what a Jetson and nvidia-smi tell), ``sensors``
(clocks, heat, power), ``checkup`` (what a device lacks), ``devices/*.toml`` (one file a device).

Work on a device: ``remote`` (files, jobs, edgewright there), ``ssh`` (the connection and what OpenSSH says),
``answers`` (what a device may say), ``wheel`` and ``pins.txt`` (what is installed there); on the device ``agent`` (one
verb a call) and ``job`` (what outlives a connection).
"""
