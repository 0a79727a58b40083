# make demo and make test do all of the set-up themselves; scripts/setup tells what that is.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X codeberg.org/minipod/minipod/cli.Version=$(VERSION)
PREFIX  ?= /usr/local

.PHONY: all build demo test test-labs test-vm check bench soak install clean

all: build

# One static binary. The tag leaves out urfave/cli's man pages, whose packages cost 0.5 ms of every start.
build:
	CGO_ENABLED=0 go build -trimpath -tags urfave_cli_no_docs -ldflags '$(LDFLAGS)' -o bin/minipod .

demo:
	scripts/setup demo
	@$(MAKE) --no-print-directory build
	scripts/as-user scripts/demo

test:
	scripts/setup test
	scripts/as-user scripts/test

# The labs alone, which are part of `make test`, too: docs/labs.md.
test-labs:
	scripts/setup test
	scripts/as-user scripts/test-labs

# In machines of their own, with systemd and cgroup v2: docs/vm.md.
test-vm:
	scripts/setup vm
	scripts/as-user scripts/vm-test

check:
	scripts/setup check
	scripts/as-user scripts/check

bench:
	scripts/setup bench
	@$(MAKE) --no-print-directory build
	scripts/bench

# Real programs in pods, under 36,000 requests each.
soak:
	scripts/setup soak
	@$(MAKE) --no-print-directory build
	scripts/soak

install: build
	install -D -m 755 bin/minipod $(DESTDIR)$(PREFIX)/bin/minipod
	mkdir -p $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/minipod completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/minipod
	bin/minipod completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_minipod
	bin/minipod completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/minipod.fish

clean:
	rm -rf bin .cache
