package link

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// A token keeps delayed calls of ended runs out: deleting another link, whose name
// this one's begins with, must not take it.
func TestADeletedLinkTakesNoOtherLinksOperation(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	boot := src.ListenAddrs()[0]
	if err := m.CreateLink(t.Context(), "l2", api.CreateLink{Configs: []api.NameValue{{Name: keyBootstrap, Value: &boot}}}, false, true); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"l", "l2"} {
		if _, err := m.PutOperation(t.Context(), link, api.Operation{OperationID: "op", Epoch: 7}); err != nil {
			t.Fatal(err)
		}
	}
	op := api.WithOperation(t.Context(), api.Operation{OperationID: "op", Epoch: 7})
	if err := m.DeleteLink(op, "l", false, false); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Operation(t.Context(), "l2"); err != nil || got.Epoch != 7 {
		t.Errorf("%+v %v", got, err)
	}
	newTestLink(t, m, src, nil)
	if got, err := m.Operation(t.Context(), "l"); err != nil || got.OperationID != "" {
		t.Errorf("the link that was made again has %+v %v", got, err)
	}
}
