"""Devices as data: processor, memory, runtimes, precisions and quantization schemes.

Describe and detect: ``target`` (the struct, TOML files, comparison with this machine), ``catalogue`` (targets by name),
``describe`` (a target as text), ``detect`` (this machine as a target), ``jetson`` and ``nvidia`` (facts of a Jetson and
of nvidia-smi), ``sensors`` (clocks, temperature, power), ``checkup`` (missing parts of a device), ``devices/*.toml``
(one file per device).

Work on a device: ``remote`` (files, jobs, installation), ``ssh`` (the connection and OpenSSH's errors), ``answers``
(limits for the answers of a device), ``wheel`` and ``pins.txt`` (packages to install). On the device: ``agent`` (one
verb per call) and ``job`` (a job that continues without a connection).
"""
