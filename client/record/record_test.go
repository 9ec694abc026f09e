package record_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

func valid() record.Record {
	return record.Record{
		Pair: "orders", Mode: record.ActivePassive, Phase: record.Open, Epoch: 3, PrevEpoch: 2,
		Active: []string{"west"}, Standby: []string{"east"},
		Bootstrap:   map[string][]string{"east": {"e:1"}, "west": {"w:1", "w:2"}},
		SecurityRef: map[string]string{"west": "vault:kafka/west"},
		Groups:      map[string]record.Group{"pinned": {Site: "east"}},
		OpID:        "failover-1", ChangedAt: time.Unix(1700000000, 5), ChangedBy: "ann <ops&co>",
	}
}

// arbitrary is a valid record of random content, for property tests.
type arbitrary struct{ record.Record }

func (arbitrary) Generate(r *rand.Rand, _ int) reflect.Value {
	sites := []string{"east", "west"}
	if r.Intn(2) == 0 {
		sites[0], sites[1] = sites[1], sites[0]
	}
	rec := valid()
	rec.Active, rec.Standby = sites[:1], sites[1:]
	rec.Epoch = 1 + r.Int63n(3)
	rec.PrevEpoch = rec.Epoch - 1
	rec.OpID = []string{"op-a", "op-b"}[r.Intn(2)]
	rec.Phase = []record.Phase{record.Open, record.Frozen, record.Moving}[r.Intn(3)]
	rec.ChangedBy = string([]rune{rune('a' + r.Intn(26)), '<', 'ü', '"', '\\', rune(r.Intn(0x2100))})
	if r.Intn(2) == 0 {
		rec.Lock = &record.Lock{OpID: rec.OpID, Operation: "failover", Since: time.Unix(r.Int63n(1e9), r.Int63n(1e9))}
	}
	for range r.Intn(3) {
		rec.FenceDebt = append(rec.FenceDebt, record.FenceDebt{Kind: record.DebtFence, Site: sites[r.Intn(2)], OpID: "x", Since: time.Unix(r.Int63n(1e9), 0), Reason: "r"})
	}
	if r.Intn(2) == 0 {
		rec.Groups = nil
	}
	return reflect.ValueOf(arbitrary{rec})
}

func TestMarshalledRecordsComeBackTheSame(t *testing.T) {
	f := func(a arbitrary) bool {
		b, err := record.Marshal(a.Record)
		if err != nil {
			t.Log(err)
			return false
		}
		got, err := record.Unmarshal(b)
		if err != nil {
			t.Logf("%s: %v", b, err)
			return false
		}
		again, err := record.Marshal(got)
		return err == nil && string(again) == string(b) && cmp.Equal(got, a.Normalised()) && record.Compare(got, a.Record) == record.Same
	}
	if err := quick.Check(f, &quick.Config{MaxCount: 500}); err != nil {
		t.Error(err)
	}
}

// Whatever is changed in a stored record, one bit or one field, is noticed.
func TestChangedRecordsAreRefused(t *testing.T) {
	b, err := record.Marshal(valid())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewSource(1))
	for range 2000 {
		bad := append([]byte{}, b...)
		bad[rng.Intn(len(bad))] ^= 1 << rng.Intn(8)
		if got, err := record.Unmarshal(bad); err == nil && !cmp.Equal(got, valid().Normalised()) {
			t.Fatalf("accepted %s", bad)
		}
	}
	for name, c := range map[string]struct {
		edit func(map[string]any)
		want error
	}{
		"schema":        {func(m map[string]any) { m["schema"] = 2 }, record.ErrSchema},
		"no schema":     {func(m map[string]any) { delete(m, "schema") }, record.ErrSchema},
		"epoch by hand": {func(m map[string]any) { m["epoch"] = 9 }, record.ErrDigest},
		"unknown field": {func(m map[string]any) { m["activ"] = []string{"east"} }, record.ErrDigest},
		"no digest":     {func(m map[string]any) { delete(m, "sha256") }, record.ErrDigest},
	} {
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		c.edit(m)
		bad, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := record.Unmarshal(bad); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for _, text := range []string{"", "null", "[]", "{", string(b) + "x", string(b) + string(b)} {
		if _, err := record.Unmarshal([]byte(text)); err == nil {
			t.Errorf("accepted %.20q", text)
		}
	}
}

// A newer program may add a field within a schema: an older client must go on
// reading, and still notice a changed byte, in that field too.
func TestFieldsOfNewerProgramsAreIgnoredButCovered(t *testing.T) {
	want := valid().Normalised()
	want.Lock = &record.Lock{OpID: "failover-1", Operation: "failover", Since: time.Unix(5, 0).UTC()}
	plain, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(plain, &m); err != nil {
		t.Fatal(err)
	}
	m["placement"] = map[string]any{"z": 1.5, "a": "<b>"}
	m["lock"].(map[string]any)["host"] = "worker-7"
	m["bootstrap"].(map[string]any)["north"] = []string{"n:1"}
	delete(m, "sha256")
	content, err := json.Marshal(m) // sorted keys, no white space
	if err != nil {
		t.Fatal(err)
	}
	content = []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(content)))
	sum := sha256.Sum256(content)
	m["sha256"] = hex.EncodeToString(sum[:])
	stored, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got, err := record.Unmarshal(stored)
	if err != nil {
		t.Fatal(err)
	}
	want.Bootstrap["north"] = []string{"n:1"}
	want.SHA256 = hex.EncodeToString(sum[:]) // the stored one: a compare-and-set goes by it
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	for _, field := range []string{"worker-7", "placement", "1.5", "failover-1", "w:1"} {
		changed := strings.Replace(string(stored), field, "9"+field[1:], 1)
		if _, err := record.Unmarshal([]byte(changed)); !errors.Is(err, record.ErrDigest) {
			t.Errorf("%s was changed: %v, want %v", field, err, record.ErrDigest)
		}
	}
	twice := strings.Replace(string(stored), `"phase"`, `"bootstrap": {"evil": ["x:1"]}, "phase"`, 1)
	if got, err := record.Unmarshal([]byte(twice)); err == nil && len(got.Bootstrap["evil"]) > 0 {
		t.Error("a field that stands twice was read where the digest did not look")
	}
}

// The digest is over canonical JSON: key order and white space of whoever wrote
// the value do not matter.
func TestDigestIgnoresLayout(t *testing.T) {
	b, err := record.Marshal(valid())
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	pretty, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := record.Unmarshal(pretty); err != nil {
		t.Error(err)
	}
}

func TestInvalidRecordsAreReportedWhole(t *testing.T) {
	_, err := record.Marshal(record.Record{Pair: "a/b", Phase: "shut", Active: []string{"x", "x"}, Standby: []string{"x"}, Groups: map[string]record.Group{"g": {"y"}}, FenceDebt: []record.FenceDebt{{Kind: "money"}}, Lock: &record.Lock{}})
	if !errors.Is(err, record.ErrInvalid) {
		t.Fatal(err)
	}
	for _, part := range []string{"pair", "mode", "phase", "epoch 0", "bootstrap", "both active and standby", `group "g"`, "money", "lock", "op_id"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not speak of %s: %v", part, err)
		}
	}
}

func TestOnlyWhatMovesClientsRaisesTheEpoch(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*record.Record)
		want bool
	}{
		"active":    {func(r *record.Record) { r.Active, r.Standby = r.Standby, r.Active }, true},
		"standby":   {func(r *record.Record) { r.Standby = nil }, true},
		"mode":      {func(r *record.Record) { r.Mode = record.ActiveActive }, true},
		"bootstrap": {func(r *record.Record) { r.Bootstrap["west"] = []string{"w:9"} }, true},
		"groups":    {func(r *record.Record) { r.Groups = nil }, true},
		"phase":     {func(r *record.Record) { r.Phase = record.Frozen }, false},
		"lock":      {func(r *record.Record) { r.Lock = &record.Lock{OpID: "x"} }, false},
		"debt":      {func(r *record.Record) { r.FenceDebt = []record.FenceDebt{{}} }, false},
		"security":  {func(r *record.Record) { r.SecurityRef = nil }, false},
	} {
		next := valid().Normalised()
		c.edit(&next)
		if got := record.RaisesEpoch(valid(), next); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*record.Record)
		want record.Relation
	}{
		"nothing":                {func(*record.Record) {}, record.Same},
		"when and by whom":       {func(r *record.Record) { r.ChangedBy, r.ChangedAt = "bob", time.Now() }, record.Same},
		"higher epoch":           {func(r *record.Record) { r.Epoch++; r.OpID = "x" }, record.Older},
		"lower epoch":            {func(r *record.Record) { r.Epoch--; r.OpID = "x" }, record.Newer},
		"another maker":          {func(r *record.Record) { r.OpID = "x" }, record.SplitBrain},
		"another active":         {func(r *record.Record) { r.Active = []string{"east"} }, record.SplitBrain},
		"another group":          {func(r *record.Record) { r.Groups = nil }, record.SplitBrain},
		"another pair":           {func(r *record.Record) { r.Pair = "x" }, record.SplitBrain},
		"another phase":          {func(r *record.Record) { r.Phase = record.Frozen }, record.StaleCopy},
		"another lock":           {func(r *record.Record) { r.Lock = &record.Lock{OpID: "x"} }, record.StaleCopy},
		"another debt":           {func(r *record.Record) { r.FenceDebt = []record.FenceDebt{{Kind: "fence"}} }, record.StaleCopy},
		"a wave was released":    {func(r *record.Record) { r.Waits = []string{"billing"} }, record.StaleCopy},
		"another way to say UTC": {func(r *record.Record) { r.ChangedAt = r.ChangedAt.In(time.FixedZone("x", 60)) }, record.Same},
	} {
		b := valid().Normalised()
		c.edit(&b)
		if got := record.Compare(valid(), b); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	mirror := map[record.Relation]record.Relation{record.Newer: record.Older, record.Older: record.Newer}
	f := func(a, b arbitrary) bool {
		ab, ba := record.Compare(a.Record, b.Record), record.Compare(b.Record, a.Record)
		if want, ok := mirror[ab]; ok {
			return ba == want
		}
		return ab == ba && record.Compare(a.Record, a.Record) == record.Same
	}
	if err := quick.Check(f, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

// A group whose wave has not had its turn is not started; an older program reads the record all the same.
func TestAGroupThatWaitsForItsWaveMayNotStart(t *testing.T) {
	r := valid()
	r.Waits = []string{"orders", "billing"}
	raw, err := record.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := record.Unmarshal(raw)
	if err != nil || got.MayStart("billing") || got.MayStart("orders") || !got.MayStart("other") || !got.MayStart("") {
		t.Errorf("%v, %v", got.Waits, err)
	}
	if record.RaisesEpoch(valid(), got) {
		t.Error("a wave needs an epoch of its own")
	}
	again := valid()
	again.Waits = []string{"billing", "orders"}
	if again.Normalised().SHA256 != got.SHA256 {
		t.Error("the order in which groups wait makes another record")
	}
	got.Waits, got.Phase = nil, record.Frozen
	if got.MayStart("billing") {
		t.Error("a freeze lets a group start")
	}
	if b, err := record.Marshal(valid()); err != nil || strings.Contains(string(b), "waits") {
		t.Errorf("a record without waves is another than it was: %v", err)
	}
}

func TestSiteForFollowsTheGroupThenTheActiveSite(t *testing.T) {
	r := valid()
	for group, want := range map[string]string{"": "west", "pinned": "east", "other": "west"} {
		got, err := r.SiteFor(group)
		if err != nil || got.Site != want || len(got.Bootstrap) == 0 {
			t.Errorf("%q: %+v %v", group, got, err)
		}
	}
	if r.PlainBootstrap() != "w:1,w:2" || r.PlainSecurity() != "vault:kafka/west" {
		t.Errorf("%q %q", r.PlainBootstrap(), r.PlainSecurity())
	}
	if _, err := (record.Record{}).SiteFor("x"); err == nil {
		t.Error("an empty record sends clients nowhere")
	}
	if k := record.KeysOf("orders"); k.Active != "drawbridge/orders/active" || k.Bootstrap != "drawbridge/orders/bootstrap" || k.Security != "drawbridge/orders/security" {
		t.Errorf("%+v", k)
	}
}

func FuzzUnmarshal(f *testing.F) {
	b, err := record.Marshal(valid())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"schema":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := record.Unmarshal(b)
		if err != nil {
			return
		}
		again, err := record.Marshal(r)
		if err != nil {
			t.Fatalf("read but cannot be written: %v", err)
		}
		if _, err := record.Unmarshal(again); err != nil {
			t.Fatal(err)
		}
	})
}
