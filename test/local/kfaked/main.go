// Command kfaked runs franz-go's kfake as a process of its own, so that tests and the demo can kill it with -9 and start
// it again on its log. It keeps everything in its data folder and syncs each write.
//
// It is started by package local, which writes its configuration; start reading there, at StartKafka.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/drawbridge-dr/drawbridge/test/local/kfaked/config"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "kfaked:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context) error {
	if len(os.Args) != 2 {
		return errors.New("usage: kfaked config.json")
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var cfg config.Config
	if err := json.Unmarshal(text, &cfg); err != nil {
		return fmt.Errorf("%s: %w", os.Args[1], err)
	}
	opts, err := options(cfg)
	if err != nil {
		return err
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s kfaked: cluster %s listens on %v, advertises %v\n",
		time.Now().Format(time.RFC3339), cfg.ClusterID, cfg.Listen, cfg.Advertised)
	<-ctx.Done()
	cluster.Close()
	return nil
}

func options(cfg config.Config) ([]kfake.Opt, error) {
	if len(cfg.Listen) == 0 || len(cfg.Listen) != len(cfg.Advertised) {
		return nil, fmt.Errorf("%d addresses to listen on, %d to advertise: give one each per broker", len(cfg.Listen), len(cfg.Advertised))
	}
	var ports []int
	direct := make(map[string]string) // advertised address → the one to listen on
	for i, addr := range cfg.Advertised {
		_, text, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("address %s: %w", addr, err)
		}
		ports = append(ports, port)
		direct[addr] = cfg.Listen[i]
	}
	opts := []kfake.Opt{
		kfake.ClusterID(cfg.ClusterID),
		kfake.EnableSASL(),
		kfake.EnableACLs(),
		kfake.BrokerConfigs(cfg.Properties),
		kfake.GroupMinSessionTimeout(time.Second), // as apache.go sets it: tests should not wait 6 s for a dead member
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelWarn)),
		// kfake advertises its listeners' addresses, so the listeners say the advertised ones.
		kfake.Ports(ports...),
		kfake.ListenFn(func(network, addr string) (net.Listener, error) {
			l, err := net.Listen(network, direct[addr])
			if err != nil {
				return nil, err
			}
			advertised, err := net.ResolveTCPAddr("tcp", addr)
			return listener{l, advertised}, err
		}),
	}
	if cfg.DataDir != "" {
		opts = append(opts, kfake.DataDir(cfg.DataDir), kfake.SyncWrites())
	}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256"} {
		opts = append(opts, kfake.Superuser(mechanism, cfg.SuperUser.Name, cfg.SuperUser.Password))
		for _, u := range cfg.Users {
			opts = append(opts, kfake.User(mechanism, u.Name, u.Password))
		}
	}
	if cfg.Properties["auto.create.topics.enable"] == "true" {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	return opts, nil
}

// listener listens at one address and says another.
type listener struct {
	net.Listener
	advertised net.Addr
}

func (l listener) Addr() net.Addr { return l.advertised }
