# Commands of the project; `make help` lists them. Everything runs on this machine: servers bind loopback and end with
# the command that started them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

LINT := $(CURDIR)/bin/lint
# Tests behind tags: real = servers on loopback, chaos = kill and cut, deploy = the whole of what deploy/ would start.
TAGS_TEST := real
TAGS_DEPLOY := real,deploy
TAGS_LONG := real,chaos,deploy
# What each fuzz target gets in `make test-long`, as `go test -fuzztime` takes it. Inputs, not seconds: a run that ends by
# the clock fails now and then with "context deadline exceeded" and nothing found (golang/go#75804, until Go 1.27).
FUZZTIME ?= 300000x

.PHONY: help build check fmt format vet lint workflowcheck deps test test-long test-exactly-once deploy-check fuzz docs demo playground bench bench-failover tools servers readers kubernetes ground java-ground clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-17s %s\n", $$1, $$2 }'

build: ## the programs, into bin/
	go build -o bin/ ./cmd/...

# ---- check: reads the code, runs none of it but the import rules.

check: format vet lint workflowcheck deps ## format, vet, linters, determinism of workflows, import rules

format: $(LINT)/.built
	@bad=$$($(LINT)/gofumpt -l . && $(LINT)/goimports -l .); \
	if [ -n "$$bad" ]; then echo "not formatted (make fmt cures it):"; sort -u <<<"$$bad"; exit 1; fi

fmt: $(LINT)/.built ## format all Go files
	$(LINT)/goimports -w .
	$(LINT)/gofumpt -w .

vet:
	go vet -tags $(TAGS_LONG) ./...

lint: $(LINT)/.built
	$(LINT)/golangci-lint run ./...

workflowcheck: $(LINT)/.built
	$(LINT)/workflowcheck ./workflows/...

# Not from the test cache: it does not see that another package's imports changed.
deps:
	go test -count=1 ./test/deps

# ---- test

# -p 2: packages that run real brokers would otherwise all start at once. -count=1: a result on real servers is not
# worth caching. The timeout is each package's.
test: ground java-ground servers readers ## all tests, with the race detector, on real servers
	go test -race -count=1 -p 2 -timeout 25m -tags $(TAGS_TEST) ./...

# DRAWBRIDGE_LONG=1 tells tests that have seeds or rounds to take many.
test-long: ground java-ground fuzz servers readers kubernetes ## fuzzing (FUZZTIME inputs each), many seeds, chaos: an hour or more
	DRAWBRIDGE_LONG=1 go test -race -count=1 -p 1 -timeout 120m -tags $(TAGS_LONG) ./...
	DRAWBRIDGE_LONG=1 go test -count=1 -run FailoverOfMany ./mirrorengine/link # times mean something without the race detector only

# `make test` has all of it that takes no minutes. What it prints last is what nothing here can try: see deploy/README.md.
deploy-check: ground java-ground servers readers kubernetes ## what deploy/ holds: read by those who will read it, started without a container engine
	go test -count=1 -timeout 20m -tags $(TAGS_DEPLOY) ./test/deploy ./activities/kube
	go test -count=1 -timeout 20m -tags $(TAGS_DEPLOY) -run 'InKubernetes' ./workflows
	@sed -n '/^## Not tried/,$$p' deploy/README.md

docs: ground ## write docs/plan.md anew from the code
	go test -count=1 ./test/docs -run PlanReference -rewrite

# How many seeds, which is the first, and how many replicas of the engine share the destination.
SEEDS ?= 20
FIRST ?= 1
ENGINES ?= 2

# A failed seed is played again by FIRST=that SEEDS=1. The report is written after each seed.
test-exactly-once: ground java-ground ## records against kills, stalls and lost answers: out/exactly-once.json (SEEDS=20, FIRST=1)
	EXACTLY_ONCE_SEEDS=$(SEEDS) EXACTLY_ONCE_FIRST=$(FIRST) EXACTLY_ONCE_ENGINES=$(ENGINES) EXACTLY_ONCE_OUT=$(CURDIR)/out/exactly-once.json \
		go test -race -count=1 -v -timeout 0 -tags $(TAGS_TEST) ./test/exactlyonce

# Inputs that reach something new are not made smaller: that took most of the time, and a process of the fuzzer that is slow
# at it counts as one that has failed (golang/go#52569).
fuzz: ground ## each fuzz target with FUZZTIME inputs (default 300000x)
	@grep -rnoE --include='*_test.go' --exclude-dir=tools '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file _ name; do \
		echo "fuzz $${name#func } in $$(dirname $$file) with $(FUZZTIME)"; \
		go test -run '^$$' -fuzz "^$${name#func }\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 0 "$$(dirname $$file)" </dev/null; \
	done

# KAFKA=real (Apache Kafka instead of the embedded one), KEEP=1 (leave all up at the end), DEMO_SEED=n, REPLICAS=n and STORY=name
# reach it through the environment, set before `make` or after it.
demo: ground servers ## the whole story: two clusters, failover, recovery, failback (KAFKA=real, STORY=switchover, drill or chatops, KEEP=1, DEMO_SEED=n)
	@if [ "$${KAFKA:-}" = real ]; then $(MAKE) --no-print-directory java-ground; fi
	@go build -o bin/demo ./test/demo
	@exec bin/demo

# QUICK=1 and CASES=name,… reach it through the environment too.
bench: ground java-ground ## race against MirrorMaker 2 on Apache Kafka (QUICK=1: under ten minutes; CASES=none_1k,tiny,…)
	@go build -o bin/bench ./test/bench
	@exec bin/bench

# QUICK=1, CASES=100,1000,…, WAYS=script,…, REPEATS=n and KAFKA=real reach it through the environment.
bench-failover: ground servers ## what a failover of 1 to 1,000 topics takes: out/bench-failover.json (QUICK=1, CASES=100,1000, KAFKA=real)
	@if [ "$${KAFKA:-}" = real ]; then $(MAKE) --no-print-directory java-ground; fi
	@go build -o bin/bench-failover ./test/bench/failover
	@exec bin/bench-failover

# ---- what the machine needs

playground: ground servers ## two small clusters, two Consuls and a Temporal for docs/tutorial.md, until Ctrl-C
	@go build -o bin/playground ./test/playground
	@exec bin/playground

tools: $(LINT)/.built servers readers ## linters into bin/lint, Temporal, Consul, promtool and amtool into the user's cache (once, minutes)

$(LINT)/.built: tools/lint/go.mod tools/lint/go.sum | ground
	@echo "building linters into bin/lint: the first time this takes minutes"
	@mkdir -p $(LINT)
	go -C tools/lint build -ldflags="-s -w" -o $(LINT)/ tool
	@touch $@

servers: ground
	@go run ./tools/ensure temporal-dev consul

# What reads deploy/: of Prometheus, of Alertmanager, consul-template, and our own of Kubernetes' types, Compose and BuildKit.
readers: ground
	@go run ./tools/ensure promtool amtool manifests consul-template

# A Kubernetes without nodes, for the tests of moving workloads: minutes the first time, so it is no part of make test.
kubernetes: ground ## Kubernetes' API server and controllers for tests of moving workloads (once, minutes)
	@go run ./tools/ensure kube-dev

# Said here, in words, rather than by the tenth test that fails for want of it.
ground:
	@command -v go >/dev/null || { echo "go is missing: install the version that go.mod names ($$(sed -n 's/^go //p' go.mod))"; exit 1; }
	@if [ "$$(go env CGO_ENABLED)" != 1 ]; then echo "the race detector needs cgo and a C compiler: install gcc (Debian: apt-get install gcc libc6-dev)"; exit 1; fi

java-ground:
	@command -v java >/dev/null || { echo "java is missing: Apache Kafka needs JDK 17 or newer (Debian: apt-get install openjdk-17-jdk-headless)"; exit 1; }
	@command -v mvn >/dev/null || { echo "mvn is missing: Apache Kafka's jars are fetched by Maven (Debian: apt-get install maven)"; exit 1; }
	@v=$$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1); \
	if [ "$${v:-0}" -lt 17 ]; then echo "java is version $${v:-unknown}: Apache Kafka needs 17 or newer"; exit 1; fi

clean: ## what builds and runs left in this folder (not the user's cache)
	rm -rf bin out
