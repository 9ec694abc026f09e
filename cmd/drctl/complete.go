package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// completeWait bounds what a press of the tab key may take: it asks an engine for names at most. A test has more time.
var completeWait = 2 * time.Second

// completer gives the words that may stand for an argument or a flag. What cannot be asked is not completed; nothing is
// said of it, since the shell would show it in the middle of the line.
type completer func(cmd *cobra.Command, args []string) []string

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion {bash | zsh | fish | powershell}", Short: "print the completion script of a shell", Args: exactly(1), ValidArgs: shells,
		Long: "completion prints a script that completes commands and flags, and where it is cheap names too: pairs, sites, topics and groups\n" +
			"from the plan of --plan or DRCTL_PLAN, links and mirrors from the engine of --engine or DRCTL_ENGINE.",
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return usagef("completion %q: write one of %s", args[0], joined(shells))
		},
	}
}

// complete has a command's arguments completed as its usage line names them, and its flags by their names.
func (a *app) complete(cmd *cobra.Command) {
	use := strings.Fields(cmd.Use)[1:]
	if cmd.ValidArgs == nil && cmd.ValidArgsFunction == nil && len(use) > 0 {
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			kind := use[min(len(args), len(use)-1)]
			if len(args) >= len(use) && !strings.Contains(kind, "...") {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			if strings.Contains(kind, "FILE") || cmd.Name() == "exec" {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return argument(strings.Trim(kind, "{}[]."), cmd, args), cobra.ShellCompDirectiveNoFileComp
		}
	}
	for name, words := range completers() {
		if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
			register(cmd, name, words)
		}
	}
}

func register(cmd *cobra.Command, flag string, words completer) {
	// It fails for a flag that is completed already, which then stays as it is.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return words(cmd, args), cobra.ShellCompDirectiveNoFileComp
	})
}

// argument is what may stand for a word of a usage line.
func argument(kind string, cmd *cobra.Command, args []string) []string {
	switch kind {
	case "PAIR":
		return ofPlan(cmd, func(p *hashed) []string { return []string{p.Pair} })
	case "LINK":
		return ofEngine(cmd, func(ctx context.Context, c *api.Client) (names []string, err error) {
			links, err := c.Links(ctx)
			for _, l := range links {
				names = append(names, l.LinkName)
			}
			return names, err
		})
	case "TOPIC":
		return ofEngine(cmd, func(ctx context.Context, c *api.Client) (names []string, err error) {
			mirrors, err := c.Mirrors(ctx, args[0], "")
			for _, m := range mirrors {
				if !slices.Contains(args[1:], m.MirrorTopicName) {
					names = append(names, m.MirrorTopicName)
				}
			}
			return names, err
		})
	}
	return nil
}

// completers of flags, by name: a name means the same in every command.
func completers() map[string]completer {
	fixed := func(words ...string) completer { return func(*cobra.Command, []string) []string { return words } }
	// Owners decide by topic; * stands for all of theirs.
	byTopic := func(cmd *cobra.Command, _ []string) []string {
		return append(ofPlan(cmd, func(p *hashed) []string {
			return slices.DeleteFunc(slices.Clone(p.Topics), func(t string) bool { return strings.HasPrefix(t, "^") })
		}), "*")
	}
	return map[string]completer{
		"output":   fixed(outputs...),
		"kind":     fixed(runbook.DrillKinds...),
		"status":   fixed(api.MirrorStatuses()...),
		"override": fixed(append(runbook.OverrideNames(), runbook.OverrideRebuild)...),
		"append":   byTopic, "export": byTopic, "discard": byTopic, "mirror": byTopic, "leave": byTopic, "delete": byTopic,
		"to": func(cmd *cobra.Command, _ []string) []string { return ofPlan(cmd, siteNames) },
		"yes": func(_ *cobra.Command, args []string) []string { // what was named is to be named again
			return args[:min(len(args), 1)]
		},
		"pair": func(cmd *cobra.Command, _ []string) []string { return argument("PAIR", cmd, nil) },
		"group": func(cmd *cobra.Command, _ []string) []string {
			return ofPlan(cmd, func(p *hashed) (names []string) {
				for _, g := range p.Groups {
					names = append(names, g.Name)
				}
				return names
			})
		},
		"team": func(cmd *cobra.Command, _ []string) []string {
			return ofPlan(cmd, func(p *hashed) (names []string) {
				for _, t := range p.Teams {
					names = append(names, t.Name)
				}
				return names
			})
		},
		"temporal-profile": func(*cobra.Command, []string) []string { return profiles() },
	}
}

func siteNames(p *hashed) (names []string) {
	for _, s := range p.Sites {
		names = append(names, s.Name)
	}
	return names
}

// ofPlan reads names from the plan of --plan or DRCTL_PLAN.
func ofPlan(cmd *cobra.Command, names func(*hashed) []string) []string {
	file := ""
	if f := cmd.Flags().Lookup("plan"); f != nil {
		file = f.Value.String()
	}
	if p, err := anyPlan(file); err == nil && p != nil {
		return names(p)
	}
	return nil
}

// ofEngine asks the engine of --engine or DRCTL_ENGINE.
func ofEngine(cmd *cobra.Command, names func(context.Context, *api.Client) ([]string, error)) []string {
	given := func(name string) string {
		f := cmd.Flag(name)
		if f == nil {
			return ""
		}
		return f.Value.String()
	}
	e := engineFlags{url: given("engine"), tokenFile: given("token-file"), tls: api.TLSFiles{CAFile: given("ca-file"), CertFile: given("cert-file"), KeyFile: given("key-file")}}
	c, err := e.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeWait)
	defer cancel()
	found, err := names(ctx, c)
	if err != nil {
		return nil
	}
	return found
}

// profiles of Temporal's configuration file.
func profiles() (names []string) {
	conf, err := envconfig.LoadClientConfig(envconfig.LoadClientConfigOptions{})
	if err != nil {
		return nil
	}
	for name := range conf.Profiles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
