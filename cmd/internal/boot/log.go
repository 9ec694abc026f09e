package boot

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// LogFlags say how a program logs. The zero value logs text from level info.
type LogFlags struct {
	Level  slog.Level // the lowest level that is written
	Format string     // "text" (for people; the default) or "json" (for collectors)
}

// Register adds -log-level and -log-format. With cobra: cmd.Flags().AddGoFlagSet.
func (f *LogFlags) Register(fs *flag.FlagSet) {
	fs.TextVar(&f.Level, "log-level", f.Level, "lowest `level` that is logged: debug, info, warn or error")
	fs.Func("log-format", "text or json (default text)", func(s string) error {
		if s != "text" && s != "json" {
			return fmt.Errorf("%q is neither text nor json", s)
		}
		f.Format = s
		return nil
	})
}

// Logger builds the logger that the program hands to everything it makes. It writes to w (stderr: stdout is for results)
// and carries the build's version in json, where lines of many processes meet.
func (f *LogFlags) Logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: f.Level}
	if strings.EqualFold(f.Format, "json") {
		return slog.New(slog.NewJSONHandler(w, opts)).With("version", Build().Version)
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
