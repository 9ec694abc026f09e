package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// A power cut may leave anything in the file; the bot is needed all the more then.
func TestADamagedStateFileIsPutAsideAndTheBotGoesOn(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "torn": `{"run-1":{"pair":"ord`, "zeroes": "\x00\x00\x00", "another file": `["x"]`, "no thread": `{"run-1":null}`, "null": "null"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out local.Output
			s, err := loadState(path, slog.New(slog.NewTextHandler(&out, nil)))
			if err != nil {
				t.Fatal(err)
			}
			if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != text {
				t.Errorf("kept %q, %v", kept, err)
			}
			if log := out.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "open runs get a second thread") || !strings.Contains(log, path+".damaged") {
				t.Errorf("log %q", log)
			}
			if _, known := s.get("run-1"); known {
				t.Error("it has a thread")
			}
			if err := s.put("run-2", thread{Pair: "orders", Channel: "C1", TS: "1.0", Begun: time.Now()}); err != nil {
				t.Fatal(err)
			}
			out = local.Output{}
			again, err := loadState(path, slog.New(slog.NewTextHandler(&out, nil)))
			if err != nil || len(again.open("orders")) != 1 || out.String() != "" {
				t.Errorf("%+v, %v, log %q", again, err, out.String())
			}
		})
	}
}

// Of a closed run nothing more can come; what Slack will never take must not be asked about for ever.
func TestWhatSlackWillNeverTakeIsNotTriedAgain(t *testing.T) {
	for code, want := range map[string]bool{
		"message_not_found": true, "thread_not_found": true, "channel_not_found": true, "is_archived": true, "not_in_channel": true,
		"account_inactive": true, "edit_window_closed": true, "cant_update_message": true,
		"internal_error": false, "service_unavailable": false, "invalid_auth": false,
	} {
		err := fmt.Errorf("say: %w", slack.SlackErrorResponse{Err: code})
		if got := vanished(err); got != want {
			t.Errorf("%s: %t", code, got)
		}
		if got := vanished(errors.Join(err, errors.New("no such host"))); got {
			t.Errorf("%s beside a network that is down: gone", code)
		}
	}
	if vanished(nil) {
		t.Error("nothing went wrong")
	}
}
