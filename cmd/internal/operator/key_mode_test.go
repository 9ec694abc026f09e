package operator

import (
	"os"
	"path/filepath"
	"testing"
)

// A person's key is one user's; a service's may come as Kubernetes gives it, by the pod's group.
func TestAKeyThatOthersCanReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.json")
	if _, err := NewKeyFile(path, "drbot"); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode][2]bool{0o600: {true, true}, 0o400: {true, true}, 0o440: {false, true}, 0o640: {false, true}, 0o660: {}, 0o444: {}, 0o604: {}} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, person := LoadSigner(path)
		_, service := LoadBotSigner(path)
		if got := [2]bool{person == nil, service == nil}; got != want {
			t.Errorf("mode %04o: person and service may use it: %v, want %v (%v, %v)", mode, got, want, person, service)
		}
	}
}
