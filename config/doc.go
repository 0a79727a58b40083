// Package config is the one file in which a user changes minipod's mind: config.json in the configuration folder
// (state.Dirs.Config; ~/.config/minipod/config.json unless XDG_CONFIG_HOME says otherwise).
//
//	{
//	  "unqualified": "docker.io",
//	  "registries": {
//	    "docker.io":         {"mirrors": ["mirror.example.com", "harbor.example.com/hub"]},
//	    "registry.lan:5000": {"insecure": true}
//	  },
//	  "pull":    {"downloads": 3},
//	  "storage": {"driver": "auto", "maxLayerSize": "32GiB"}
//	}
//
// No file is the same as {}. Everything has a default, so a file names only what differs. Decoding is strict: a
// field that minipod doesn't know is an error which names the file, the field's path and the nearest known field,
// because a misspelt "mirors" that is silently ignored costs its writer an afternoon.
//
// The package is light (std only): `minipod run` reads the file before main's heavy packages initialise.
package config
