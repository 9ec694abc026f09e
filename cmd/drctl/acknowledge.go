package main

import (
	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func (a *app) acknowledgeCommand() *cobra.Command {
	cmd := a.answerCommand(runbook.Acknowledge, "say that you look after the open run: its page is quiet then, and the report keeps it", &answer{})
	cmd.Example = "  drctl acknowledge orders"
	return cmd
}
