package workflows

import (
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// NameDebt is the workflow of a pair's debts, SignalWake makes it look at once and
// QueryDebts answers with its DebtStatus.
const (
	NameDebt   = "Debt"
	SignalWake = "wake"
	QueryDebts = "debts"
)

// DebtID is the id of the workflow that sees to a pair's debts. It takes no lock.
func DebtID(pair string) string { return "dr-debt/" + pair }

// DebtInput starts Debt, under DebtID(pair): {"pair":"orders"}.
type DebtInput struct {
	Pair string `json:"pair"`
	// Carried over from the run before, when a long life is cut into several runs.
	Carried *DebtStatus `json:"carried,omitempty"`
}

// DebtStatus is the answer to QueryDebts, and Debt's result.
type DebtStatus struct {
	Pair string         `json:"pair"`
	Owed []runbook.Owed `json:"owed"`
	// Waits says what it waits for now; Problem why its last look failed.
	Waits   string    `json:"waits_for,omitempty"`
	Problem string    `json:"problem,omitempty"`
	Looks   int       `json:"looks"`
	Looked  time.Time `json:"looked,omitzero"`
	Next    time.Time `json:"next_look,omitzero"`
	// Paying is the run that pays now, "" for none; Tries counts those that did not
	// pay everything that they could, in a row, Last is what came of the last one, and
	// NotBefore when the next one may start.
	Paying    bool      `json:"paying,omitempty"`
	Tries     int       `json:"tries"`
	Last      string    `json:"last,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	Told      time.Time `json:"told,omitzero"`
}

// WakeDebtInput is about the pair of its Call.
type WakeDebtInput struct {
	Call Call `json:"call"`
}

// WakeDebtResult names the workflow that was started or woken.
type WakeDebtResult struct {
	Workflow string `json:"workflow"`
}

// NotifyDebt: debts are old. NotifyDebtPaid ends it: nothing is owed any more.
const (
	NotifyDebt     = "debt"
	NotifyDebtPaid = "debt paid"
)

// OfNoRun tells the kinds that belong to no run. Each is a message of its own: a thread
// that was opened weeks ago shows it to nobody.
func OfNoRun(kind string) bool {
	return slices.Contains([]string{NotifyUnready, NotifyReadyAgain, NotifyDrill, NotifyDrillAgain, NotifyDebt, NotifyDebtPaid}, kind)
}

// EndsPage tells the kinds that end or quiet what was paged before, and page nobody.
func EndsPage(kind string) bool {
	return slices.Contains([]string{NotifyFinished, NotifyMoved, NotifyAcknowledged, NotifyReadyAgain, NotifyDrillAgain, NotifyDebtPaid}, kind)
}
