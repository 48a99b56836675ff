"""One TOML file a device, each a `edgewright.targets.target.Target`."""
