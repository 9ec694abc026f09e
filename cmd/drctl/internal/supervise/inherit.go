package supervise

import (
	"fmt"
	"slices"
	"strings"
)

// withheld are the variables by which drctl logs in: at Consul, at Temporal, as a person.
// The child has no use for them but by chance, and an application shows its environment
// to whoever reads its crash reports. What drctl takes from the environment and is no
// credential (addresses, authorities) is passed on, and so is VAULT_TOKEN, which it does
// not take.
var withheld = []string{
	"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY",
	"TEMPORAL_API_KEY", "TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_CERT_DATA", "TEMPORAL_TLS_CLIENT_KEY_PATH", "TEMPORAL_TLS_CLIENT_KEY_DATA",
	"TEMPORAL_CODEC_AUTH",
}

// withheldPrefixes begin others: drctl's own, and headers of its calls of Temporal.
var withheldPrefixes = []string{"DRCTL_", "TEMPORAL_GRPC_META_"}

func isWithheld(name string) bool {
	return slices.Contains(withheld, name) || slices.ContainsFunc(withheldPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// inherited is what the child gets of our environment; pass names exceptions.
func inherited(environ, pass []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, ownPrefix) || isWithheld(name) && !slices.Contains(pass, name)
	})
}

// mayPass finds names that need not be asked for: more likely they are misspelt.
func mayPass(pass []string) (faults []error) {
	for _, name := range pass {
		if !isWithheld(name) {
			faults = append(faults, fmt.Errorf("%q is not withheld: it is passed on anyway, or misspelt; withheld are %s and what begins with %s", name, strings.Join(withheld, ", "), strings.Join(withheldPrefixes, " or ")))
		}
	}
	return faults
}
