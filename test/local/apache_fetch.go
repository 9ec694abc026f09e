package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed apache/pom.xml
var apachePOM []byte

//go:embed mirrormaker/pom.xml
var mirrorMakerPOM []byte

//go:embed kafkatools/pom.xml
var kafkaToolsPOM []byte

// jars is what one pom brings, in the user's cache under the pom's hash.
type jars struct {
	what  string // for errors, and the person who waits
	pom   []byte
	cache string // folder of the cache, before the hash
	probe string // a jar that must be there, and by its name tells the version
}

var (
	brokerJars      = jars{"Apache Kafka", apachePOM, "kafka", "kafka-server"}
	mirrorMakerJars = jars{"MirrorMaker 2", mirrorMakerPOM, "mirrormaker", "connect-mirror"}
	kafkaToolsJars  = jars{"Kafka's command line tools", kafkaToolsPOM, "kafkatools", "kafka-tools"}
)

// MirrorMakerJars returns a folder with MirrorMaker 2, for `java -cp folder/*`, and its version. It is fetched at its first
// use on a machine.
func MirrorMakerJars(ctx context.Context) (dir, version string, err error) {
	return mirrorMakerJars.fetch(ctx)
}

// KafkaBrokerJars and KafkaToolJars return folders with Apache Kafka's broker, and with its command line tools, for `java -cp
// folder/*`. They are fetched at their first use on a machine.
func KafkaBrokerJars(ctx context.Context) (dir string, err error) {
	dir, _, err = brokerJars.fetch(ctx)
	return dir, err
}

// KafkaToolJars: see KafkaBrokerJars.
func KafkaToolJars(ctx context.Context) (dir string, err error) {
	dir, _, err = kafkaToolsJars.fetch(ctx)
	return dir, err
}

// KafkaACLs calls kafka-acls of Apache Kafka against a cluster, as its super user. It is fetched at its first use on a
// machine.
func (k *Kafka) KafkaACLs(ctx context.Context, args ...string) error {
	libs, err := KafkaToolJars(ctx)
	if err != nil {
		return err
	}
	config, err := os.CreateTemp("", "kafka-acls-*.properties") // holds a password, and is its owner's only
	if err != nil {
		return err
	}
	defer os.Remove(config.Name())
	super := k.SuperUser()
	_, err = fmt.Fprintf(config, "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=%q password=%q;\n",
		super.Name, super.Password)
	if err := errors.Join(err, config.Close()); err != nil {
		return err
	}
	java := exec.CommandContext(ctx, "java", slices.Concat(apacheJVM, []string{"-cp", filepath.Join(libs, "*"), "org.apache.kafka.tools.AclCommand", "--command-config", config.Name()}, args)...)
	if out, err := java.CombinedOutput(); err != nil || bytes.Contains(out, []byte("Error while executing")) {
		return fmt.Errorf("kafka-acls %v: %w\n%s", args, errors.Join(err, errors.New("it was not content")), out)
	}
	return nil
}

// fetch returns the folder with the jars and their version. The first use on a machine (and the first after a change of the
// pom) fetches them by Maven, which takes a minute or so; others wait for it meanwhile.
func (j jars) fetch(ctx context.Context) (dir, version string, err error) {
	sum := sha256.Sum256(j.pom)
	home, err := cacheDir(j.cache + "-" + hex.EncodeToString(sum[:6]))
	if err != nil {
		return "", "", err
	}
	dir = filepath.Join(home, "libs")
	if version, err = j.version(dir); err == nil {
		return dir, version, nil
	}
	if err := javaFound(); err != nil {
		return "", "", err
	}
	unlock, err := lockFile(ctx, filepath.Join(home, "lock"))
	if err != nil {
		return "", "", err
	}
	defer unlock()
	if version, err = j.version(dir); err == nil { // another process has fetched them meanwhile
		return dir, version, nil
	}
	fmt.Fprintf(os.Stderr, "fetching %s by Maven into %s: once, this takes a minute or so\n", j.what, home)
	pom, part := filepath.Join(home, "pom.xml"), filepath.Join(home, "libs.part")
	if err := errors.Join(os.RemoveAll(part), os.WriteFile(pom, j.pom, 0o644)); err != nil {
		return "", "", err
	}
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+part)
	if out, err := mvn.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("fetch %s (%s): %w\n%s", j.what, strings.Join(mvn.Args, " "), err, out)
	}
	// Renamed when complete, so that a run that was killed leaves nothing that looks whole.
	if err := os.Rename(part, dir); err != nil {
		return "", "", err
	}
	version, err = j.version(dir)
	return dir, version, err
}

// version reads the version from the name of a jar.
func (j jars) version(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, j.probe+"-[0-9]*.jar"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s does not hold one %s jar (%d found): %w", dir, j.probe, len(found), errors.Join(err, os.ErrNotExist))
	}
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), j.probe+"-"), ".jar"), nil
}
