package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// creating are the configs of a link that creates mirrors of what filters
// choose, looking every second.
func creating(filters ...string) map[string]string {
	return map[string]string{
		keyAutoCreate: "true", "metadata.max.age.ms": "1000",
		keyTopicFilters: `{"topicFilters":[` + strings.Join(filters, ",") + `]}`,
	}
}

const everyTopic = `{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}`

func mirrorNames(t *testing.T, m *Manager) []string {
	t.Helper()
	mirrors, err := m.Mirrors(t.Context(), "l", "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, mt := range mirrors {
		names = append(names, mt.MirrorTopicName)
	}
	return names
}

// task is one task of link "l".
func task(t *testing.T, m *Manager, name string) api.LinkTask {
	t.Helper()
	l, err := m.Link(t.Context(), "l", true)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(l.Tasks, func(task api.LinkTask) bool { return task.TaskName == name })
	if i < 0 {
		t.Fatalf("no task %s in %+v", name, l.Tasks)
	}
	return l.Tasks[i]
}

// awaitTask waits until a task says all of that.
func awaitTask(t *testing.T, m *Manager, name, state string, says ...string) api.LinkTask {
	t.Helper()
	var got api.LinkTask
	eventually(t, fmt.Sprintf("%s is %s and says %q", name, state, says), func() error {
		got = task(t, m, name)
		text := fmt.Sprintf("%+v", got)
		for _, s := range append(says, state) {
			if !strings.Contains(text, s) {
				return errors.New(text)
			}
		}
		return nil
	})
	return got
}

// look runs one look of auto-create now.
func look(t *testing.T, m *Manager) (faults, notes []api.TaskError) {
	t.Helper()
	l := linkOf(t, m)
	return l.autoCreate(t.Context(), &sourceMirrors{link: l})
}

func TestMirrorsOfWhatTheFiltersChooseAreCreatedAndFollowNewTopics(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	for _, topic := range []string{"orders", "orders.test.a", "orders.eu", "payments", "__orders", "orders-app-store-changelog", "orders-app-by-key-repartition"} {
		src.topic(t, topic, 1, nil)
	}
	src.produce(t, "orders", 0, 0, 5)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, creating(
		`{"name":"orders","patternType":"PREFIXED","filterType":"INCLUDE"}`,
		`{"name":"__orders","patternType":"LITERAL","filterType":"INCLUDE"}`,
		`{"name":"orders.test","patternType":"PREFIXED","filterType":"EXCLUDE"}`))
	want := []string{"orders", "orders.eu"}
	expect := func() {
		t.Helper()
		eventually(t, fmt.Sprintf("the mirrors are %v", want), func() error {
			if got := mirrorNames(t, m); !slices.Equal(got, want) {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
	}
	expect()
	awaitLagZero(t, m, src, "orders")
	if got := values(dst.read(t, "orders", 0, 0, 5)); got != "v0 v1 v2 v3 v4" {
		t.Errorf("got %s", got)
	}
	src.topic(t, "orders.us", 2, nil)
	want = append(want, "orders.us")
	expect()
	if got := task(t, m, api.TaskAutoCreate); got.State != "ACTIVE" || len(got.Errors) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestAStreamsTopicIsMirroredIfAFilterNamesIt(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	for _, topic := range []string{"app-a-changelog", "app-b-changelog"} {
		src.topic(t, topic, 1, nil)
	}
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, creating(everyTopic, `{"name":"app-a-changelog","patternType":"LITERAL","filterType":"INCLUDE"}`))
	awaitTask(t, m, api.TaskAutoCreate, "ACTIVE")
	if got := mirrorNames(t, m); !slices.Equal(got, []string{"app-a-changelog"}) {
		t.Errorf("mirrors %v", got)
	}
	newTestMirror(t, m, "app-b-changelog") // explicitly, it may be
}

func TestATopicThatIsInTheWayIsNamedAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	for _, topic := range []string{"a", "b", "c"} {
		src.topic(t, topic, 1, nil)
	}
	dst.topic(t, "b", 1, nil)
	dst.produce(t, "b", 0, 0, 1)
	dst.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.CreateTopicsRequest)
		if req.Topics[0].Topic != "c" {
			return nil, nil, false
		}
		dst.KeepControl()
		res := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic, rt.ErrorCode, rt.ErrorMessage = "c", kerr.PolicyViolation.Code, kmsg.StringPtr("names need a dot")
		res.Topics = append(res.Topics, rt)
		return res, nil, true
	})
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, creating(everyTopic))
	got := awaitTask(t, m, api.TaskAutoCreate, "IN_ERROR", codeTopicExists, "topic b exists on this cluster and is no mirror", "exclude it by a filter", "POLICY_VIOLATION", "names need a dot")
	if len(got.Errors) != 2 {
		t.Errorf("%+v", got.Errors)
	}
	if got := mirrorNames(t, m); !slices.Equal(got, []string{"a"}) {
		t.Errorf("mirrors %v", got)
	}
}

// Each side mirrors all topics of the other: without a look into the state topic
// a mirror whose topic was deleted at its home would come back from the other
// side, and in a ring of three all would go round.
func TestAMirrorAtTheSourceIsNotMirroredAgain(t *testing.T) {
	t.Parallel()
	a, b, c := newSite(t, "a"), newSite(t, "b"), newSite(t, "c")
	a.topic(t, "orders", 1, nil)
	a.topic(t, "other", 1, nil)
	onB, _ := newEngine(t, b)
	newTestLink(t, onB, a, nil)
	newTestMirror(t, onB, "orders")
	newTestMirror(t, onB, "other")
	b.topic(t, "local-to-b", 1, nil)
	onC, _ := newEngine(t, c)
	newTestLink(t, onC, b, creating(everyTopic))
	got := awaitTask(t, onC, api.TaskAutoCreate, "ACTIVE", "orders (cluster link 'l'), other (cluster link 'l')", "would go round")
	if len(got.Errors) != 1 {
		t.Errorf("%+v", got)
	}
	if got := mirrorNames(t, onC); !slices.Equal(got, []string{"local-to-b"}) {
		t.Errorf("mirrors %v", got)
	}
	// A mirror that has ended is an ordinary topic.
	alter(t, onB, api.VerbFailover, "other")
	awaitStatus(t, onB, "other", status.Stopped)
	eventually(t, "other is mirrored", func() error {
		if got := mirrorNames(t, onC); !slices.Equal(got, []string{"local-to-b", "other"}) {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
}

func TestNothingIsCreatedWhileTheSourcesStateTopicCannotBeRead(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	src.topic(t, "_drawbridge_state", 1, nil)
	src.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "_drawbridge_state", Err: kerr.TopicAuthorizationFailed, Count: -1})
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, creating(everyTopic))
	awaitTask(t, m, api.TaskAutoCreate, "IN_ERROR", "AUTHORIZATION_ERROR", "_drawbridge_state", "allow the link's principal DESCRIBE and READ")
	if got := mirrorNames(t, m); len(got) != 0 {
		t.Errorf("mirrors %v", got)
	}
}

func TestAMirrorWhoseTopicAPersonDeletedIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	for _, topic := range []string{"orders", "payments"} {
		src.topic(t, topic, 1, nil)
	}
	m, stop := newEngine(t, dst)
	newTestLink(t, m, src, creating(everyTopic))
	awaitTask(t, m, api.TaskAutoCreate, "ACTIVE")
	if _, err := dst.adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	stop()
	m, _ = newEngine(t, dst) // it remembers over a restart
	awaitTask(t, m, api.TaskAutoCreate, "ACTIVE")
	if faults, notes := look(t, m); len(faults)+len(notes) > 0 {
		t.Errorf("%+v %+v", faults, notes)
	}
	topics, err := dst.adm.ListTopics(t.Context(), "orders")
	if err != nil || topics.Has("orders") {
		t.Errorf("%+v %v", topics, err)
	}
}

func TestNothingIsCreatedWhileAnOperationIsAtWorkOrWhenAllMirrorsHaveEnded(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	m, _ := newEngine(t, dst)
	configs := creating(everyTopic)
	configs["metadata.max.age.ms"] = "86400000"
	newTestLink(t, m, src, configs)
	awaitTask(t, m, api.TaskAutoCreate, "ACTIVE")
	src.topic(t, "payments", 1, nil)
	op := api.Operation{OperationID: "op", Epoch: 1}
	if _, err := m.PutOperation(t.Context(), "l", op); err != nil {
		t.Fatal(err)
	}
	if faults, notes := look(t, m); len(faults) > 0 || len(notes) != 1 || !strings.Contains(notes[0].ErrorMessage, "operation op (epoch 1) is at work") {
		t.Errorf("%+v %+v", faults, notes)
	}
	if _, err := m.EndOperation(t.Context(), "l", op); err != nil {
		t.Fatal(err)
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	if faults, notes := look(t, m); len(faults) > 0 || len(notes) != 1 || !strings.Contains(notes[0].ErrorMessage, "have ended") {
		t.Errorf("%+v %+v", faults, notes)
	}
	if got := mirrorNames(t, m); !slices.Equal(got, []string{"orders"}) {
		t.Errorf("mirrors %v", got)
	}
}

func TestTheSameMirrorIsCreatedOnce(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	const calls = 8
	errs := make(chan error, calls)
	for range calls {
		go func() {
			errs <- m.CreateMirror(context.WithoutCancel(t.Context()), "l", api.CreateMirror{SourceTopicName: "orders", ReplicationFactor: 1})
		}()
	}
	made := 0
	for range calls {
		switch err := <-errs; {
		case err == nil:
			made++
		case !errors.Is(err, api.ErrBadRequest) && !errors.Is(err, api.ErrConflict):
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("created %d times", made)
	}
}
