package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// SaveReport writes both files whole or not at all; a second attempt writes the
// same again. A relative folder begins at the worker's reports folder.
//
// Offsets that were too many for the run's history are read from the engine now:
// it keeps those of ended mirrors. Without an answer the report says so.
func (a *Activities) SaveReport(ctx context.Context, in workflows.SaveReportInput) (workflows.SaveReportResult, error) {
	var out workflows.SaveReportResult
	id := in.Report.OpID
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return out, refuse(workflows.ErrRefused, "operation id %q cannot name a report's file", id)
	}
	folder := a.reports(in.Folder)
	// A plan that cannot be read any more is a changed one.
	if in.Report.PlanHash != "" && a.opts.PlansDir != "" {
		_, hash, err := a.plan(in.Call.Pair)
		out.PlanChanged = err != nil || hash != in.Report.PlanHash
	}
	if build := a.opts.Build; build != (runbook.Build{}) {
		out.Build = &build
	}
	in.Report.PlanChanged, in.Report.Build = out.PlanChanged, out.Build
	if in.Offsets != nil {
		if risk, err := a.risk(ctx, *in.Offsets); err == nil {
			in.Report.Stops, in.Report.Offsets = risk.Partitions, risk.Groups
		} else {
			in.Report.Findings = append(in.Report.Findings, fmt.Sprintf("the stop offsets are here by topic only, engine %s has them by partition and did not give them: %v", in.Offsets.Site.Name, err))
		}
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return out, settle(fmt.Errorf("reports folder: %w", err))
	}
	var err error
	out.JSON, out.Markdown, err = keepReport(folder, in.Report)
	return out, settle(err)
}

// keepReport writes a report's two files.
func keepReport(folder string, r runbook.Report) (asJSON, asMarkdown string, err error) {
	body, err := r.JSON()
	if err == nil {
		asJSON, asMarkdown = filepath.Join(folder, r.OpID+".json"), filepath.Join(folder, r.OpID+".md")
		err = errors.Join(renameio.WriteFile(asJSON, append(body, '\n'), 0o640), renameio.WriteFile(asMarkdown, []byte(r.Markdown()), 0o640))
	}
	if err != nil {
		err = fmt.Errorf("report of %s: %w", r.OpID, err)
	}
	return asJSON, asMarkdown, err
}

// kept reads every kept report of a pair; another's file, or one that is being
// removed, is passed over.
func (a *Activities) kept(call workflows.Call, folder string) ([]runbook.Report, error) {
	files, err := filepath.Glob(filepath.Join(a.reports(folder), "*.json"))
	var out []runbook.Report
	for _, file := range files {
		raw, rerr := os.ReadFile(file)
		var r runbook.Report
		if rerr == nil {
			rerr = json.Unmarshal(raw, &r)
		}
		if rerr != nil {
			a.logger(call).Debug("a report was not read", "file", file, "error", rerr)
			continue
		}
		if r.Pair == call.Pair && r.OpID+".json" == filepath.Base(file) {
			out = append(out, r)
		}
	}
	return out, err
}

// AmendReport finds the failover by what it made of the record: its report may
// be kept by another worker's disk, and then it is not found.
func (a *Activities) AmendReport(_ context.Context, in workflows.AmendReportInput) (workflows.AmendReportResult, error) {
	all, err := a.kept(in.Call, in.Folder)
	if err != nil {
		return workflows.AmendReportResult{}, settle(err)
	}
	for _, r := range all {
		failover := r.Operation == runbook.OpFailover || r.Turned != nil
		if !failover || r.DryRun || r.EpochAfter != in.Epoch || r.EpochBefore == in.Epoch || !slices.Equal(r.Active, []string{in.Active}) {
			continue
		}
		out := workflows.AmendReportResult{OpID: r.OpID}
		if r.RPOExact != nil && *r.RPOExact == in.Exact && maps.Equal(r.RPOByTopic, in.Topics) {
			return out, nil
		}
		r.Amended(runbook.Report{OpID: in.Call.OperationID, RPOExact: &in.Exact, RPOByTopic: in.Topics, RPOTime: in.Time, Ledger: in.Ledger})
		_, _, err := keepReport(a.reports(in.Folder), r)
		out.Changed = err == nil
		return out, settle(err)
	}
	return workflows.AmendReportResult{}, nil
}

// reports is the folder that a plan names, which begins at the worker's own.
func (a *Activities) reports(folder string) string {
	if filepath.IsAbs(folder) {
		return folder
	}
	return filepath.Join(a.opts.ReportsDir, folder)
}
