//go:build tools

// Package consul pins the Consul agent that the tests and the demo run when none is on the PATH; it has no code. Build
// it here with `go build -ldflags="-s -w" -o consul github.com/hashicorp/consul`.
//
// Two things in go.mod are on purpose. The excluded go-msgpack versions are the ones that Consul's own go.mod excludes
// (an incompatible wire format). consul/api stands at a release newer than the one that Consul requires, because Consul
// itself builds against its working copy, which the required release lacks fields of.
//
// Consul is under the Business Source License: built for tests on a developer's machine, never shipped.
package consul
