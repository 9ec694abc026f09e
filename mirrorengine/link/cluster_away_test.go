package link

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

func TestAClusterIsAwayWhenNoBrokerLetsAnybodyIn(t *testing.T) {
	s := newSite(t, "west", kfake.NumBrokers(2))
	m, _ := newEngine(t, s)
	if err := m.Away(t.Context()); err != nil {
		t.Errorf("two brokers answer, yet %v", err)
	}
	if err := s.RemoveNode(1); err != nil {
		t.Fatal(err)
	}
	if err := m.Away(t.Context()); err != nil {
		t.Errorf("one broker answers, yet %v", err)
	}
	s.Close()
	if err := m.Away(t.Context()); err == nil {
		t.Error("no broker answers, yet it is not away")
	}
}
