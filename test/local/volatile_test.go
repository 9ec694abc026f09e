//go:build real

package local

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// What it keeps in memory does not outlive it, and it needs no files.
func TestAVolatileKFakeKeepsNothingOnDisk(t *testing.T) {
	k := KafkaForTest(t, KafkaConfig{Kind: KFake, Name: "east", SuperUser: admin, Volatile: true})
	topics := func() kadm.TopicDetails {
		t.Helper()
		found, err := kadm.NewClient(connect(t, k.Options(admin))).ListTopics(within(t, 2*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	createTopic(t, connect(t, k.Options(admin)), "orders", 10)
	if !topics().Has("orders") {
		t.Fatal("the topic is not there")
	}
	if _, err := os.Stat(filepath.Join(k.cfg.Dir, "data")); !os.IsNotExist(err) {
		t.Errorf("a folder of data: %v", err)
	}
	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := k.Restart(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if topics().Has("orders") {
		t.Error("the topic is there still")
	}
}
