package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func (a *app) mirrorCommand() *cobra.Command {
	cmd := group("mirror", "mirror topics of one engine")
	cmd.Long = "mirror shows and changes single mirror topics. promote and failover end a mirror for good and know nothing of clients,\n" +
		"fences or the record: to move a pair, use `drctl failover`."
	var e engineFlags
	e.add(cmd)
	cmd.AddCommand(a.mirrorList(&e), a.mirrorCreate(&e), a.mirrorDescribe(&e),
		a.mirrorAlter(&e, api.VerbPromote, "end mirrors in order: drained to the last record, needs the source"),
		a.mirrorAlter(&e, api.VerbFailover, "end mirrors now, whatever is not mirrored is left behind; needs no source"),
		a.mirrorAlter(&e, api.VerbPause, "pause mirrors"), a.mirrorAlter(&e, api.VerbResume, "resume paused mirrors"))
	return cmd
}

func (a *app) mirrorList(e *engineFlags) *cobra.Command {
	var status string
	cmd := &cobra.Command{
		Use: "list [LINK]", Short: "list mirrors of a link, or of all", Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			link := api.AllLinks
			if len(args) == 1 {
				link = args[0]
			}
			status = strings.ToUpper(status)
			if status != "" && !slices.Contains(api.MirrorStatuses(), status) {
				return usagef("--status %q is none of %s", status, joined(api.MirrorStatuses()))
			}
			mirrors, err := c.Mirrors(ctx, link, status)
			if err != nil {
				return fmt.Errorf("mirrors of link %s: %w", link, err)
			}
			return a.print(notNil(mirrors), func(w io.Writer) {
				lines := [][]string{{"LINK", "MIRROR", "SOURCE", "PARTITIONS", "STATUS", "LAG", "ERROR"}}
				for _, m := range mirrors {
					lines = append(lines, []string{m.LinkName, m.MirrorTopicName, m.SourceTopicName, strconv.Itoa(int(m.NumPartitions)), m.MirrorStatus, totalLag(m.MirrorLags), mirrorError(m)})
				}
				rows(w, lines)
			})
		}),
	}
	cmd.Flags().StringVar(&status, "status", "", "only mirrors in this status, e.g. ACTIVE or STOPPED")
	return cmd
}

func (a *app) mirrorCreate(e *engineFlags) *cobra.Command {
	var req api.CreateMirror
	var configs configFlags
	cmd := &cobra.Command{
		Use: "create LINK SOURCE-TOPIC", Short: "create a mirror of a topic; refused over an existing topic", Args: exactly(2),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			values, err := configs.read()
			if err != nil {
				return err
			}
			req.SourceTopicName, req.Configs = args[1], values
			if err := c.CreateMirror(ctx, args[0], req); err != nil {
				return fmt.Errorf("create mirror of %s on link %s: %w", args[1], args[0], err)
			}
			return a.done("created on link "+args[0], "mirror", args[1])
		}),
	}
	cmd.Flags().StringVar(&req.MirrorTopicName, "mirror-topic", "", "name of the mirror; only prefix + source topic, on a link with a prefix")
	cmd.Flags().Int16Var(&req.ReplicationFactor, "replication-factor", 0, "of the mirror (default: the destination's own)")
	configs.add(cmd, "config")
	return cmd
}

func (a *app) mirrorDescribe(e *engineFlags) *cobra.Command {
	return &cobra.Command{
		Use: "describe LINK TOPIC", Short: "show a mirror with its lag by partition", Args: exactly(2),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			m, err := c.Mirror(ctx, args[0], args[1], true)
			if err != nil {
				return fmt.Errorf("mirror %s of link %s: %w", args[1], args[0], err)
			}
			return a.print(m, func(w io.Writer) {
				pairs(w, "link", m.LinkName, "mirror", m.MirrorTopicName, "source topic", m.SourceTopicName, "status", m.MirrorStatus, "error", mirrorError(m))
				for _, te := range m.StateTransitionErrors {
					fmt.Fprintf(w, "transition error: %s: %s\n", te.ErrorCode, te.ErrorMessage)
				}
				fmt.Fprintln(w)
				rows(w, append([][]string{{"PARTITION", "LAG", "LAST SOURCE FETCH OFFSET"}}, lagRows(m.MirrorLags)...))
			})
		}),
	}
}

func (a *app) mirrorAlter(e *engineFlags, verb api.MirrorVerb, short string) *cobra.Command {
	var pattern string
	var validateOnly bool
	var yes sure
	ends := verb == api.VerbPromote || verb == api.VerbFailover
	cmd := &cobra.Command{
		Use: string(verb) + " LINK [TOPIC...]", Short: short, Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: e.with(func(ctx context.Context, c *api.Client, args []string) error {
			req := api.AlterMirrors{MirrorTopicNames: args[1:], MirrorTopicNamePattern: pattern}
			if (pattern == "") == (len(req.MirrorTopicNames) == 0) {
				return usagef("%s: name topics or give --pattern, one of the two", cmdName(verb))
			}
			if ends && !validateOnly {
				question := "This ends mirrors of link " + args[0] + " for good, and moves no client: " + joined(req.MirrorTopicNames) + pattern + "."
				if err := a.confirmed(ctx, yes, question, args[0]); err != nil {
					return err
				}
			}
			results, err := c.AlterMirrors(ctx, args[0], verb, req, validateOnly)
			if err != nil {
				return fmt.Errorf("%s mirrors of link %s: %w", verb, args[0], err)
			}
			if err := a.print(notNil(results), func(w io.Writer) { alterTable(w, results) }); err != nil {
				return err
			}
			return refusedTopics(verb, results)
		}),
	}
	cmd.Flags().StringVar(&pattern, "pattern", "", "RE2 pattern over the whole name of the mirrors")
	cmd.Flags().BoolVar(&validateOnly, "validate-only", false, "check only")
	if ends {
		yes.add(cmd, "link")
	}
	return cmd
}

func cmdName(verb api.MirrorVerb) string { return "drctl mirror " + string(verb) }

func alterTable(w io.Writer, results []api.AlterMirrorResult) {
	lines := [][]string{{"MIRROR", "RESULT", "PARTITION", "LAG", "LAST SOURCE FETCH OFFSET"}}
	for _, r := range results {
		result := "accepted"
		if err := r.Err(); err != nil {
			result = err.Error()
		}
		if len(r.MirrorLags) == 0 || r.Err() != nil {
			lines = append(lines, []string{r.MirrorTopicName, result, "", "", ""})
			continue
		}
		for _, l := range lagRows(r.MirrorLags) {
			lines = append(lines, append([]string{r.MirrorTopicName, result}, l...))
		}
	}
	rows(w, lines)
}

// refusedTopics: some refused is a failure, all refused a refusal.
func refusedTopics(verb api.MirrorVerb, results []api.AlterMirrorResult) error {
	refused := 0
	for _, r := range results {
		if r.Err() != nil {
			refused++
		}
	}
	switch refused {
	case 0:
		return nil
	case len(results):
		return refusedf("%s: every mirror was refused, reasons above", verb)
	default:
		return fmt.Errorf("%s: %d of %d mirrors were refused, reasons above; the others were accepted", verb, refused, len(results))
	}
}

func lagRows(lags []api.MirrorLag) [][]string {
	var out [][]string
	for _, l := range lags {
		offset := "never fetched"
		if l.LastSourceFetchOffset >= 0 {
			offset = strconv.FormatInt(l.LastSourceFetchOffset, 10)
		}
		out = append(out, []string{strconv.Itoa(int(l.Partition)), strconv.FormatInt(l.Lag, 10), offset})
	}
	return out
}

func totalLag(lags []api.MirrorLag) string {
	var sum int64
	for _, l := range lags {
		sum += max(l.Lag, 0)
	}
	return strconv.FormatInt(sum, 10)
}

func mirrorError(m api.Mirror) string {
	if m.MirrorTopicError == api.MirrorErrorNone || m.MirrorTopicError == "NOT_SET" {
		return ""
	}
	return m.MirrorTopicError
}
