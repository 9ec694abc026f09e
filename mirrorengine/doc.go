// Package mirrorengine is the mirroring engine's process: it reads the
// configuration, connects to the local cluster, and serves the REST contract
// over the links that it runs.
//
// It has no logic of links (package link) or of the contract (package rest); it
// wires them, starts them and stops them in order. Start at New and Config.
package mirrorengine
