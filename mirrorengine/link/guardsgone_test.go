package link

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func TestTheGuardOfAMirrorWhoseTopicIsGoneIsLifted(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "source"), newGuardedSite(t)
	src.topic(t, "orders", 1, nil)
	m, _ := guardedEngine(t, dst, "admin", false)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	awaitGuard(t, m, "orders", api.GuardSet)
	dst.deleteTopic(t, "orders")
	expectFailed(t, m, "orders", api.MirrorErrorIllegalState, "was deleted on this cluster")
	wantDenials(t, m)
	awaitGuard(t, m, "orders", api.GuardReleased)

	// Made anew as a mirror it is read-only again.
	newTestMirror(t, m, "orders")
	wantDenials(t, m, "User:* WRITE orders")
}

func TestADeletedLinkLeavesNoGuardBehind(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		t.Run(fmt.Sprintf("force %v", force), func(t *testing.T) {
			src, dst := newSite(t, "source"), newGuardedSite(t)
			src.topic(t, "orders", 1, nil)
			m, _ := guardedEngine(t, dst, "admin", false)
			newTestLink(t, m, src, nil)
			newTestMirror(t, m, "orders")
			awaitGuard(t, m, "orders", api.GuardSet)
			stuck := dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteACLs}, Resource: "orders", Count: -1})
			dst.deleteTopic(t, "orders")
			expectFailed(t, m, "orders", api.MirrorErrorIllegalState, "was deleted")
			err := m.DeleteLink(t.Context(), "l", force, false)
			if force {
				if err != nil {
					t.Fatal(err)
				}
				stuck.Remove()
				newTestLink(t, m, src, nil) // the next link clears away what was left
				wantDenials(t, m)
				return
			}
			if !errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), "the guard of orders") {
				t.Fatalf("a link whose guard cannot be lifted: %v", err)
			}
			if _, err := m.link("l"); err != nil {
				t.Fatal(err)
			}
			stuck.Remove()
			if err := m.DeleteLink(t.Context(), "l", false, false); err != nil {
				t.Fatal(err)
			}
			if got, keys := denials(t, m), m.store.Keys("guard/"); len(got) > 0 || len(keys) > 0 {
				t.Errorf("left behind: entries %q, records %q", got, keys)
			}
		})
	}
}
