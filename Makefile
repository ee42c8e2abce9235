# idbridge. `make` lists what there is.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZ    ?= 30s
LINT    := v2.15.0

.DEFAULT_GOAL := help
.PHONY: help demo build test test-setup bench fuzz mutate lint pictures clean

help: ## what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## run the whole path on this machine, nothing installed
	$(GO) run ./cmd/idbridge demo

build: ## build bin/idbridge, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.linked=$(VERSION)" -o bin/idbridge ./cmd/idbridge

test-setup: ## install the real servers and SOAP clients that the tests use
	@./testenv/install.sh

# What the race detector does not watch: SQLite's transpiled C, RSA's arithmetic and argon2's, which take three to ten times as long
# under it and share nothing but what their callers, who are watched, guard. By GOFLAGS, so that the programs which tests build are
# built alike. Only packages without generic code of others in them: the linker keeps one copy of that, and it might be an unwatched one.
UNWATCHED = $(patsubst %,-gcflags=%=-race=false,modernc.org/sqlite/lib modernc.org/libc crypto/internal/fips140/bigmod \
	golang.org/x/crypto/argon2)
test lint: export GOFLAGS += $(UNWATCHED) # lint, so that what it compiles need not be compiled again

# Three packages at once on any machine: tests wait a lot, for servers and for what must not come.
test: test-setup ## set up and run every test, with the race detector
	$(GO) test -race -p 3 -timeout 20m ./...

bench: test-setup ## measure idbridge beside raw go-ldap, on slapd and on Samba, the portal, administration, and a SAML answer beside crewjam/saml
	$(GO) run ./bench
	@$(GO) test -run '^$$' -bench 'Judge|Crewjam' ./providers/saml | awk '/^Benchmark/ {print} /Judge/ {ours = $$3} \
		/Crewjam/ {theirs = $$3} END {printf "a SAML answer: crewjam/saml takes %.1f times as long\n", theirs / ours}'

PICTURES       = signin-choice code enrol recovery account token account-phone
ADMIN_PICTURES = overview user explain coverage

pictures: test-setup ## renew the pictures of portal and administration in docs/images
	$(GO) test -count=1 -run 'TestGallery|TestTheWidget' ./portal ./admin
	@mkdir -p docs/images/portal docs/images/admin
	@for p in $(PICTURES); do cp .cache/screenshots/gallery/$$p.png docs/images/portal/; done
	@for p in $(ADMIN_PICTURES); do cp .cache/screenshots/admin/$$p.png docs/images/admin/; done

fuzz: ## run each fuzz target for FUZZ (30s)
	@set -e; for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
		for t in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' $$f); do \
			echo "== $$t in $$(dirname $$f)"; $(GO) test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZ) $$(dirname $$f); \
		done; done

mutate: ## take each check of SAML and Entra ID out once: some test must fail (minutes)
	$(GO) test -tags mutation -run TestMutants -timeout 120m -v ./providers/saml ./providers/azuread

lint: ## golangci-lint with .golangci.yml
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT) run ./...

clean: ## remove what was built
	rm -rf bin dist
