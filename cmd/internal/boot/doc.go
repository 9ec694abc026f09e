// Package boot is what the services of Drawbridge do before and after their own work: flags, signals that become a
// cancelled context, the logger, the address file, exit codes; and what a build says of itself.
//
// It reads no configuration: that is the service's own package. Start with [Service].
package boot
