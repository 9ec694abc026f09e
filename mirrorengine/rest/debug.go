package rest

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// debugRows bounds the table of partitions.
const debugRows = 2000

// debug registers what shows the inside of the engine, to admins: the mirrors'
// partitions, and Go's own profiles.
func (s *Server) debug(mux *router) {
	s.handle(mux, "GET "+api.PathDebug+"mirrors", "", s.debugMirrors)
	for path, h := range map[string]http.HandlerFunc{
		"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
	} {
		pattern := "GET " + api.PathDebug + "pprof/" + path
		mux.Handle(pattern, only(needs(pattern), h))
	}
}

// debugMirrors writes a row per partition. Query: link, topic, and stalled=true
// for those that do not move only.
func (s *Server) debugMirrors(w http.ResponseWriter, r *request) error {
	stalled, err := boolean(r, "stalled", false)
	if err != nil {
		return err
	}
	rows, err := s.opts.Links.DebugMirrors(r.Context())
	if err != nil {
		return err
	}
	q := r.URL.Query()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll("LINK TOPIC PARTITION STATUS POSITION HIGH_WATERMARK LAG LAG_SECONDS DEST_END SEGMENTS PRODUCER EPOCH SEQUENCE SHARD BYTES_UNDER_WAY MOVED STALLED", " ", "\t"))
	shown, left := 0, 0
	for _, d := range rows {
		switch {
		case q.Has("link") && d.Link != q.Get("link"), q.Has("topic") && d.Topic != q.Get("topic"), stalled && d.Stalled == "":
			continue
		case shown == debugRows:
			left++
			continue
		}
		shown++
		position, moved := "?", "never"
		if d.Located {
			position = fmt.Sprint(d.SourcePosition)
		}
		if !d.Moved.IsZero() {
			moved = d.Moved.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%d\t%d\t%.1f\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", d.Link, d.Topic, d.Partition, d.Status, position, d.SourceHighWatermark,
			d.LagRecords, d.LagSeconds, d.DestEnd, d.Segments, d.ProducerID, d.ProducerEpoch, d.NextSequence, d.Shard, d.BytesUnderWay, moved, oneLine(d.Stalled))
	}
	if err := t.Flush(); err != nil {
		return nil //nolint:nilerr // the reader has gone; the answer has begun
	}
	if left > 0 {
		fmt.Fprintf(w, "and %d more; narrow it by ?link=, ?topic=, ?stalled=true\n", left)
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
