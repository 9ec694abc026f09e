// Package boot is what every program of Drawbridge does before and after its own work: signals become a cancelled
// context, flags become a logger, an error becomes an exit code, the build says what it is.
//
// It reads no configuration and starts no server: that is the process's own package. Start with [Main].
package boot
