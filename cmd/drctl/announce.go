package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/client"
)

func (a *app) announceCommand() *cobra.Command {
	var x watchFlags
	var s client.Service
	cmd := &cobra.Command{
		Use: "announce --pair PAIR --service NAME --consul ADDRESS --state-dir FOLDER", Args: exactly(0),
		Short: "keep a DNS name in Consul at the servers where the pair is active, for clients that know nothing else",
		Long: "announce registers the servers of the active site (or of --group's) as instances of a Consul service, and changes them when the\n" +
			"record does: NAME.service.consul leads to them. It runs until it is ended; run it beside each site's Consul agent, under\n" +
			"systemd. Its end takes nothing back, but addresses that nobody keeps leave DNS after --ttl: they could be those of a site\n" +
			"that was left. Two announcers of one agent do not hurt each other.\n\n" +
			"A name leads a client only when it bootstraps. Clients that are to follow by a name alone must bootstrap again by themselves\n" +
			"(metadata.recovery.strategy=rebootstrap, the default from Kafka's Java client 4.0 on), or be started again; and the\n" +
			"resolver must not keep the name (Java: networkaddress.cache.ttl). They are not stopped by a freeze, only by the fence.\n\n" +
			"Rights: the policy deploy/consul/announcer.hcl. Token and TLS settings come from Consul's own variables.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.announce(cmd.Context(), x, s) },
	}
	x.add(cmd)
	f := cmd.Flags()
	f.StringVar(&s.Name, "service", "", "name of the service: lower case letters, digits and hyphens")
	f.StringVar(&s.Group, "group", "", "the group whose place is announced (default: the active site)")
	f.DurationVar(&s.TTL, "ttl", time.Minute, "how long the addresses stay when nobody keeps them any more")
	return cmd
}

func (a *app) announce(ctx context.Context, x watchFlags, s client.Service) error {
	cfg := x.config(a)
	if err := errors.Join(cfg.Validate(), s.Validate()); err != nil {
		return usageError{err}
	}
	w, err := client.New(cfg)
	if err != nil {
		return err
	}
	return w.Announce(ctx, s)
}
