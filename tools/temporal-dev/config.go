package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	sqliteschema "go.temporal.io/server/schema/sqlite"
)

// clusterName is what the server calls itself; with one cluster it is never seen by a client.
const clusterName = "active"

// openStore makes the schema of a new database and the namespaces that are not there yet. An existing file keeps its
// workflows: that is how a killed server comes back.
func openStore(o options) (*config.SQL, error) {
	sql := &config.SQL{PluginName: sqlite.PluginName}
	if o.dbFile == "" {
		sql.ConnectAttributes = map[string]string{"mode": "memory", "cache": "shared"}
		sql.DatabaseName = strconv.FormatInt(time.Now().UnixNano(), 10)
	} else {
		// No waiting for the disk at each write: what a killed server has written is there all the same, since the machine
		// goes on, and beside other work on the disk a wait may take the ten seconds that a workflow task has.
		sql.ConnectAttributes = map[string]string{"mode": "rwc", "journal_mode": "wal", "synchronous": "off"}
		sql.DatabaseName = o.dbFile
		if _, err := os.Stat(o.dbFile); errors.Is(err, os.ErrNotExist) {
			if err := sqliteschema.SetupSchema(sql); err != nil {
				return nil, fmt.Errorf("schema of new database %s: %w", o.dbFile, err)
			}
		}
	}
	namespaces := make([]*sqliteschema.NamespaceConfig, 0, len(o.namespaces))
	for _, name := range o.namespaces {
		ns, err := sqliteschema.NewNamespaceConfig(clusterName, name, false, o.searchAttributes)
		if err != nil {
			return nil, fmt.Errorf("namespace %s: %w", name, err)
		}
		namespaces = append(namespaces, ns)
	}
	if err := sqliteschema.CreateNamespaces(sql, namespaces...); err != nil {
		return nil, fmt.Errorf("create namespaces %v (a database left half made by a kill during its first start must be removed): %w",
			o.namespaces, err)
	}
	return sql, nil
}

// serverConfig wires the four services of one server on one address: the frontend on the port that was asked for, the
// others and the frontend's HTTP API on ports nobody needs to know.
func serverConfig(o options, sql *config.SQL) (*config.Config, map[primitives.ServiceName]static.Hosts, error) {
	ports, err := freePorts(o.ip, 4)
	if err != nil {
		return nil, nil, err
	}
	httpPort := ports[3]
	grpcPorts := map[primitives.ServiceName]int{
		primitives.FrontendService: o.port,
		primitives.HistoryService:  ports[0],
		primitives.MatchingService: ports[1],
		primitives.WorkerService:   ports[2],
	}

	var conf config.Config
	conf.Global.Membership.MaxJoinDuration = 30 * time.Second
	conf.Global.Membership.BroadcastAddress = o.ip
	conf.Persistence.DefaultStore = "sqlite"
	conf.Persistence.VisibilityStore = "sqlite"
	conf.Persistence.NumHistoryShards = 1
	conf.Persistence.DataStores = map[string]config.DataStore{"sqlite": {SQL: sql}}
	conf.ClusterMetadata = &cluster.Config{
		FailoverVersionIncrement: 10,
		MasterClusterName:        clusterName,
		CurrentClusterName:       clusterName,
		ClusterInformation: map[string]cluster.ClusterInformation{clusterName: {
			Enabled: true, InitialFailoverVersion: 1, RPCAddress: o.frontend(),
			HTTPAddress: net.JoinHostPort(o.ip, strconv.Itoa(httpPort)),
			ClusterID:   "00000000-0000-4000-8000-000000000001",
		}},
	}
	conf.DCRedirectionPolicy.Policy = "noop"
	conf.Services = map[string]config.Service{}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for name, port := range grpcPorts {
		var svc config.Service
		svc.RPC.BindOnIP = o.ip
		svc.RPC.GRPCPort = port
		if name == primitives.FrontendService {
			svc.RPC.HTTPPort = httpPort
		}
		conf.Services[string(name)] = svc
		hosts[name] = static.SingleLocalHost(net.JoinHostPort(o.ip, strconv.Itoa(port)))
	}
	conf.Archival.History.State = "disabled"
	conf.Archival.Visibility.State = "disabled"
	conf.NamespaceDefaults.Archival.History.State = "disabled"
	conf.NamespaceDefaults.Archival.Visibility.State = "disabled"
	conf.PublicClient.HostPort = o.frontend()
	return &conf, hosts, nil
}
