# Every target sets up what it needs: system packages that are missing, a virtual environment, the install.
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):/usr/local/sbin:/usr/sbin:/sbin:$(PATH)

.PHONY: setup
setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml requirements-dev.txt tools/setup
	tools/setup $(VENV)
	@touch $@

.PHONY: proto
proto: setup
	tools/generate-proto proto
