package runbook

import (
	"fmt"
	"time"
)

// Credential is what a look at a secret or certificate told, without the secret.
type Credential struct {
	// What it is for, as "password of kafka at west (${file:/k/west})".
	What string
	// Expires is when it ends, as far as it tells; zero: it does not.
	Expires time.Time
	// Aged is why an earlier value is used, Problem why there is none.
	Aged    string
	Problem string
}

// CredentialSoon is how long ahead people hear of an end.
const CredentialSoon = 14 * 24 * time.Hour

// Judge says what is wrong with a credential, what to do, and whether a runbook
// would stop at it; "" for nothing.
func (c Credential) Judge(now time.Time) (what, cure string, blocker bool) {
	left := c.Expires.Sub(now)
	switch {
	case c.Problem != "":
		return fmt.Sprintf("the %s cannot be read: %s", c.What, c.Problem), "put it where the plan says, or correct the plan", true
	case !c.Expires.IsZero() && left <= 0:
		return fmt.Sprintf("the %s ended %s", c.What, stamp(c.Expires)), "renew it now", true
	case !c.Expires.IsZero() && left < CredentialSoon:
		return fmt.Sprintf("the %s ends %s, in %.1f days", c.What, stamp(c.Expires), left.Hours()/24), "renew it before then", false
	case c.Aged != "":
		return fmt.Sprintf("the %s is used as this worker read it before: %s", c.What, c.Aged), "bring the vault back: a worker that starts now gets no secret", false
	}
	return "", "", false
}
