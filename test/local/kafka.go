package local

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// KafkaKind says what a cluster is made of.
type KafkaKind string

const (
	// KFake is franz-go's kfake as a process of its own: up in a blink, all brokers in one process, and different from
	// Kafka where the mirror engine looks closely: a marker fences nobody, no high watermark is below the log end, and
	// over a kill -9 it keeps records, topics, configs, committed offsets, ACL entries, users and producer ids, but not what
	// it knew of sequence numbers (it saves those only when it ends in order): a batch sent again afterwards is stored twice.
	KFake KafkaKind = "kfake"
	// Apache is Apache Kafka, KRaft, one JVM per broker, fetched by Maven at its first use on a machine.
	Apache KafkaKind = "apache"
)

// User is a SASL login. Both kinds of cluster take PLAIN and SCRAM-SHA-256.
type User struct{ Name, Password string }

// KafkaConfig describes a cluster to start.
type KafkaConfig struct {
	Kind      KafkaKind
	Name      string // the site ("east"); in errors, file and process names
	Dir       string // data, configuration and logs; must be empty or not exist yet
	Brokers   int    // 1, or 3: replication factor 3, min.insync.replicas 2. 0 means 1
	SuperUser User   // administrator; super user of the authorizer, which no ACL entry binds
	Users     []User // ordinary principals; they may do nothing until ACL entries are made
	// Proxied puts a TCP proxy (see Proxy) before each broker and makes the brokers advertise the proxies' addresses.
	Proxied bool
	// TLS adds a listener with TLS to each broker of an Apache cluster (see TLSBootstrap), which demands client
	// certificates; PEM files. Its principals are the certificates' subjects, as in User:CN=engine.
	TLS TLSFiles
	// ProxiedReplication puts one before each broker's listener for the other brokers too (Apache only): see [Kafka.HoldFollower].
	ProxiedReplication bool
	// Properties are further broker properties. kfake knows few (see kfake.BrokerConfigs).
	Properties map[string]string
	// Volatile keeps kfake's data in memory only: a cluster that is killed has lost all of it. On disk kfake holds two
	// files open for each partition, and thousands of partitions are more than a process may open.
	Volatile bool
	// JVM replaces the flags of an Apache broker's Java. The default keeps it small and quick to start, at the price of
	// speed (no optimising compiler): a benchmark wants others.
	JVM []string
}

// TLSFiles are what brokers show (key and certificate in one file) and which authorities they trust.
type TLSFiles struct{ KeyStore, TrustStore string }

// Validate reports every fault of the configuration at once.
func (c KafkaConfig) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Kind != KFake && c.Kind != Apache {
		fault("Kind %q: use %q or %q", c.Kind, KFake, Apache)
	}
	if c.Name == "" || strings.ContainsAny(c.Name, "/ ") {
		fault("Name %q: give the site's name, without slashes and spaces", c.Name)
	}
	if c.TLS != (TLSFiles{}) && (c.Kind != Apache || c.TLS.KeyStore == "" || c.TLS.TrustStore == "") {
		fault("TLS: give both files, and Kind %q", Apache)
	}
	if c.Volatile && c.Kind != KFake {
		fault("Volatile: Kind %q keeps its data on disk; use %q", c.Kind, KFake)
	}
	if c.Dir == "" {
		fault("Dir is empty: name a folder for the cluster's data")
	}
	if c.Brokers != 0 && c.Brokers != 1 && c.Brokers != 3 {
		fault("Brokers %d: use 1 or 3", c.Brokers)
	}
	seen := map[string]bool{internalUser: true}
	for _, u := range append([]User{c.SuperUser}, c.Users...) {
		switch {
		case u.Name == "" || u.Password == "" || strings.ContainsAny(u.Name+u.Password, "\"\\;,=[] "):
			fault("user %q: name and password must be there, and free of quotes, blanks and ;,=[]", u.Name)
		case seen[u.Name]:
			fault("user %q stands there twice, or is reserved: choose another name", u.Name)
		}
		seen[u.Name] = true
	}
	return errors.Join(errs...)
}

// internalUser is the principal that Apache brokers use among themselves.
const internalUser = "broker"

// Kafka is a cluster started by [StartKafka]. Its methods may be called from several goroutines, but starting and ending
// brokers at the same time waits for each other.
type Kafka struct {
	cfg       KafkaConfig
	clusterID string
	version   string
	proxies   Proxies
	between   Proxies  // ProxiedReplication's
	brokers   []broker // as clients see them

	mu    sync.Mutex // guards nodes' processes
	nodes []*node
}

// broker is one address of the cluster.
type broker struct{ direct, advertised, tls string }

// node is one process of the cluster: all of kfake, or one Apache broker.
type node struct {
	spec Spec
	proc *Process // nil before the first start
}

// StartKafka starts a cluster and returns when it answers. On an error nothing of it is left running. The cluster
// outlives ctx; end it with Stop.
func StartKafka(ctx context.Context, cfg KafkaConfig) (_ *Kafka, err error) {
	cfg.Brokers = max(cfg.Brokers, 1)
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("start kafka cluster %q: %w", cfg.Name, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start %s cluster %s: %w", cfg.Kind, cfg.Name, err)
		}
	}()
	cfg.Dir, err = filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if old, _ := os.ReadDir(cfg.Dir); len(old) > 0 {
		return nil, fmt.Errorf("folder %s is not empty: delete it, or name another one", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	k := &Kafka{cfg: cfg, clusterID: newClusterID()}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Stop())
		}
	}()
	if err := k.address(); err != nil {
		return nil, err
	}
	switch cfg.Kind {
	case KFake:
		err = k.prepareKFake(ctx)
	case Apache:
		err = k.prepareApache(ctx)
	}
	if err != nil {
		return nil, err
	}
	return k, k.Restart(ctx)
}

// address chooses the brokers' ports and starts the proxies.
func (k *Kafka) address() error {
	found, err := FreePorts(3 * k.cfg.Brokers)
	if err != nil {
		return err
	}
	for i := range k.cfg.Brokers {
		b := broker{direct: loopback(found[2*i])}
		if k.cfg.TLS != (TLSFiles{}) {
			b.tls = loopback(found[2*k.cfg.Brokers+i])
		}
		b.advertised = b.direct
		if k.cfg.Proxied {
			b.advertised = loopback(found[2*i+1])
			proxy, err := StartProxy(b.advertised, b.direct)
			if err != nil {
				return fmt.Errorf("proxy of broker %d: %w", i, err)
			}
			k.proxies = append(k.proxies, proxy)
		}
		k.brokers = append(k.brokers, b)
	}
	return nil
}

// Bootstrap returns the brokers' addresses as clients use them: the proxies' where there are any.
func (k *Kafka) Bootstrap() []string {
	var addrs []string
	for _, b := range k.brokers {
		addrs = append(addrs, b.advertised)
	}
	return addrs
}

// TLSBootstrap returns the brokers' addresses with TLS; empty when the cluster has none.
func (k *Kafka) TLSBootstrap() []string {
	var addrs []string
	for _, b := range k.brokers {
		if b.tls != "" {
			addrs = append(addrs, b.tls)
		}
	}
	return addrs
}

// Kind returns what the cluster is made of.
func (k *Kafka) Kind() KafkaKind { return k.cfg.Kind }

// Name returns the site's name.
func (k *Kafka) Name() string { return k.cfg.Name }

// SuperUser returns the administrator's login.
func (k *Kafka) SuperUser() User { return k.cfg.SuperUser }

// ClusterID is the id that the cluster reports: 22 characters, base64 of a UUID. It outlives restarts.
func (k *Kafka) ClusterID() string { return k.clusterID }

// Version is the version of the broker software ("4.3.0", or kfake's module version).
func (k *Kafka) Version() string { return k.version }

// Proxies returns the brokers' proxies in broker order; empty when the cluster is not Proxied.
func (k *Kafka) Proxies() Proxies { return k.proxies }

// Options returns what a franz-go client needs to talk to the cluster as user: seeds and SASL. Add a ClientID.
func (k *Kafka) Options(user User) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(k.Bootstrap()...), login(user)}
}

// DirectOptions is like Options but goes round the proxies: for a checker that must see the cluster whatever is held.
func (k *Kafka) DirectOptions(user User) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(k.Bootstrap()...), login(user), kgo.Dialer(k.dialDirect)}
}

func login(user User) kgo.Opt {
	return kgo.SASL(plain.Auth{User: user.Name, Pass: user.Password}.AsMechanism())
}

// newClusterID makes an id like Kafka's own Uuid.randomUuid: never with a leading dash, which reads as a flag.
func newClusterID() string {
	for {
		var id [16]byte
		rand.Read(id[:]) // never fails (crypto/rand)
		if text := base64.RawURLEncoding.EncodeToString(id[:]); !strings.HasPrefix(text, "-") {
			return text
		}
	}
}

// KafkaForTest starts a cluster for a test, in a folder of the test's when Dir is empty, and stops it when the test ends.
// When the test has failed, the end of each broker's log is printed.
func KafkaForTest(t TB, cfg KafkaConfig) *Kafka {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), cfg.Name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	k, err := StartKafka(ctx, cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", k.Log(15))
		}
		if err := k.Stop(); err != nil {
			t.Logf("stop kafka %s: %v", cfg.Name, err)
		}
	})
	return k
}
