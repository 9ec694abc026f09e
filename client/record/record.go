package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Schema is the version of the wire format that this package reads and writes.
const Schema = 1

// Mode is how a pair is run.
type Mode string

// Modes.
const (
	ActivePassive Mode = "active-passive"
	ActiveActive  Mode = "active-active"
)

// Phase tells clients whether they may work: stop on Frozen, go on with the
// site of the record on Open. Moving says that an operation is under way which
// has not stopped anybody (yet).
type Phase string

// Phases.
const (
	Open   Phase = "open"
	Frozen Phase = "frozen"
	Moving Phase = "moving"
)

// Record is the one JSON document under drawbridge/<pair>/active.
type Record struct {
	Schema int    `json:"schema"`
	Pair   string `json:"pair"`
	Mode   Mode   `json:"mode"`
	Phase  Phase  `json:"phase"`
	// Epoch rises with every change of where clients go; a client that has seen
	// epoch n refuses every lower one.
	Epoch   int64    `json:"epoch"`
	Active  []string `json:"active"`
	Standby []string `json:"standby"`
	// Bootstrap holds host:port lists by site.
	Bootstrap map[string][]string `json:"bootstrap"`
	// SecurityRef names by site where a client finds its credentials; never
	// the credentials themselves.
	SecurityRef map[string]string `json:"security_ref"`
	// Groups places single consumer groups elsewhere than on Active[0].
	Groups map[string]Group `json:"groups"`
	// Waits are the groups that were sent to this epoch's site and whose wave of clients
	// has not had its turn: they stop where they were, and start when they are not listed
	// any more. It is written at the same epoch and only ever grows shorter within one. A
	// reader that does not know of it moves its group at once.
	Waits     []string    `json:"waits,omitempty"`
	FenceDebt []FenceDebt `json:"fence_debt"`
	// Lock is the running operation, nil when none runs.
	Lock *Lock `json:"lock"`
	// OpID is the operation that made this epoch.
	OpID      string    `json:"op_id"`
	ChangedAt time.Time `json:"changed_at"`
	ChangedBy string    `json:"changed_by"`
	PrevEpoch int64     `json:"prev_epoch"`
	// Moves are the last ones of the pair from site to site, oldest first.
	Moves []Move `json:"moves,omitempty"`
	// SHA256 is the hex digest of the canonical JSON (keys sorted, no white
	// space, no HTML escapes) of this document without this field.
	SHA256 string `json:"sha256"`
}

// Group places one consumer group.
type Group struct {
	Site string `json:"site"`
}

// Move is one change of the active site.
type Move struct {
	OpID      string    `json:"op_id"`
	Operation string    `json:"operation"`
	Active    string    `json:"active"`
	At        time.Time `json:"at"`
}

// Lock names the operation that holds the pair.
type Lock struct {
	OpID      string    `json:"op_id"`
	Operation string    `json:"operation"`
	Since     time.Time `json:"since"`
}

// Kinds of debts.
const (
	// DebtFence: a site that was left without a proven fence; it is fenced and
	// proven as the first act on its return.
	DebtFence = "fence"
	// DebtRecord: a site whose Consul has not got the newest record.
	DebtRecord = "record"
)

// FenceDebt is something owed to a site that could not be reached, or whose
// fence was not proven, when the pair moved on without it.
type FenceDebt struct {
	Kind  string    `json:"kind"`
	Site  string    `json:"site"`
	OpID  string    `json:"op_id"`
	Since time.Time `json:"since"`
	// Level is the fence level that was reached (kind fence only).
	Level  string `json:"level,omitempty"`
	Reason string `json:"reason"`
}

// Sentinels of Unmarshal and Validate.
var (
	ErrSchema  = errors.New("record of truth has another schema")
	ErrDigest  = errors.New("record of truth does not match its sha256")
	ErrInvalid = errors.New("record of truth is not valid")
)

// Marshal normalises r (UTC times, no null lists), sets Schema and SHA256 and
// returns the JSON to store. It refuses a record that Validate refuses.
func Marshal(r Record) ([]byte, error) {
	r = r.Normalised()
	if err := r.Validate(); err != nil {
		return nil, err
	}
	b, err := encode(r)
	if err != nil {
		return nil, fmt.Errorf("encode the record of pair %s: %w", r.Pair, err)
	}
	return b, nil
}

// Unmarshal reads a stored record. It refuses another schema (ErrSchema), a
// digest that does not match (ErrDigest), and missing or senseless parts
// (ErrInvalid).
//
// Fields that it does not know are covered by the digest and otherwise ignored:
// a newer program may add one within a schema, and a client that refused it
// would stand still in the middle of a failover. What an older client must not
// ignore raises the schema. The fields are lost when the Record is marshalled.
func Unmarshal(b []byte) (Record, error) {
	var head struct {
		Schema int    `json:"schema"`
		SHA256 string `json:"sha256"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if head.Schema != Schema {
		return Record{}, fmt.Errorf("%w: found %d, this program reads %d: use a program of the version that wrote it", ErrSchema, head.Schema, Schema)
	}
	content, err := canonical(b)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if sum := sumOf(content); sum != head.SHA256 {
		return Record{}, fmt.Errorf("%w: sha256 says %q, the content gives %q: it was edited by hand or damaged", ErrDigest, head.SHA256, sum)
	}
	// Read from what the digest was computed of, not from b: of a field that
	// stands twice in b both must see the same one.
	var r Record
	if err := json.Unmarshal(content, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r.SHA256 = head.SHA256
	if err := r.Validate(); err != nil {
		return Record{}, err
	}
	return r, nil
}

// Normalised returns a deep copy with UTC times, empty in place of null lists
// and maps, the schema and the digest set. Its result does not depend on the
// order of maps, so that durable workflows may call it.
//
//workflowcheck:ignore
func (r Record) Normalised() Record {
	r.Schema = Schema
	r.Active = append([]string{}, r.Active...)
	r.Standby = append([]string{}, r.Standby...)
	boot := make(map[string][]string, len(r.Bootstrap))
	for site, list := range r.Bootstrap {
		boot[site] = append([]string{}, list...)
	}
	r.Bootstrap = boot
	refs := make(map[string]string, len(r.SecurityRef))
	maps.Copy(refs, r.SecurityRef)
	r.SecurityRef = refs
	groups := make(map[string]Group, len(r.Groups))
	maps.Copy(groups, r.Groups)
	r.Groups = groups
	r.Waits = slices.Sorted(slices.Values(r.Waits))
	debts := make([]FenceDebt, 0, len(r.FenceDebt))
	for _, d := range r.FenceDebt {
		d.Since = d.Since.UTC().Round(0)
		debts = append(debts, d)
	}
	r.FenceDebt = debts
	r.Moves = slices.Clone(r.Moves)
	for i := range r.Moves {
		r.Moves[i].At = r.Moves[i].At.UTC().Round(0)
	}
	if r.Lock != nil {
		l := *r.Lock
		l.Since = l.Since.UTC().Round(0)
		r.Lock = &l
	}
	r.ChangedAt = r.ChangedAt.UTC().Round(0)
	r.SHA256 = ""
	if b, err := json.Marshal(r); err == nil {
		if content, err := canonical(b); err == nil {
			r.SHA256 = sumOf(content)
		}
	}
	return r
}

// Validate reports everything that is wrong with r at once, wrapped in
// ErrInvalid.
func (r Record) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if r.Pair == "" || strings.ContainsAny(r.Pair, "/ ") {
		bad("pair %q is empty or holds a slash or blank", r.Pair)
	}
	if r.Mode != ActivePassive && r.Mode != ActiveActive {
		bad("mode %q is neither %s nor %s", r.Mode, ActivePassive, ActiveActive)
	}
	if r.Phase != Open && r.Phase != Frozen && r.Phase != Moving {
		bad("phase %q is none of %s, %s, %s", r.Phase, Open, Frozen, Moving)
	}
	if r.Epoch < 1 || r.PrevEpoch < 0 || r.PrevEpoch >= r.Epoch {
		bad("epoch %d after prev_epoch %d: an epoch is at least 1 and above the one before", r.Epoch, r.PrevEpoch)
	}
	if len(r.Active) == 0 {
		bad("active names no site")
	}
	if r.Mode == ActivePassive && len(r.Active) > 1 {
		bad("active names %d sites, %s allows one", len(r.Active), ActivePassive)
	}
	for _, s := range slices.Concat(r.Active, r.Standby) {
		if len(r.Bootstrap[s]) == 0 {
			bad("bootstrap has no servers for site %q", s)
		}
	}
	for _, s := range r.Active {
		if slices.Contains(r.Standby, s) {
			bad("site %q is both active and standby", s)
		}
	}
	for _, g := range slices.Sorted(maps.Keys(r.Groups)) {
		if len(r.Bootstrap[r.Groups[g].Site]) == 0 {
			bad("group %q is placed on site %q, which has no bootstrap servers", g, r.Groups[g].Site)
		}
	}
	for _, d := range r.FenceDebt {
		if d.Kind != DebtFence && d.Kind != DebtRecord || d.Site == "" {
			bad("fence_debt %q of site %q is of no known kind", d.Kind, d.Site)
		}
	}
	if r.Lock != nil && (r.Lock.OpID == "" || r.Lock.Operation == "") {
		bad("lock names no operation")
	}
	if r.OpID == "" {
		bad("op_id is empty")
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(faults...))
}

func encode(r Record) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// canonical is a document's canonical JSON without sha256. It works on the
// document as it is, so that a digest of it covers every field there is, known
// or not.
func canonical(b []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var doc map[string]any
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON document")
	}
	delete(doc, "sha256")
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf) // maps are written with sorted keys
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

func sumOf(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}
