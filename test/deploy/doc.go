// Package deploy checks what deploy/ holds, as far as that can be done without a container engine: every file is read by
// those who will read it (promtool, amtool, Kubernetes' types, Compose, BuildKit, systemd, Consul, Kafka, our own
// loaders), and where it grants something, real servers are given it and asked.
//
// It does not build or run an image, and asks no cluster: deploy/README.md names what is left untried. `make deploy-check`
// runs it; so does `make test`.
package deploy
