package local

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed apache/pom.xml
var apachePOM []byte

// apacheJars returns the folder with the broker's jars and Kafka's version. The first use on a machine (and the first
// after a change of the pom) fetches them by Maven, which takes a minute or so; others wait for it meanwhile.
func apacheJars(ctx context.Context) (dir, version string, err error) {
	sum := sha256.Sum256(apachePOM)
	home, err := cacheDir("kafka-" + hex.EncodeToString(sum[:6]))
	if err != nil {
		return "", "", err
	}
	dir = filepath.Join(home, "libs")
	if version, err = jarsVersion(dir); err == nil {
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
	if version, err = jarsVersion(dir); err == nil { // another process has fetched them meanwhile
		return dir, version, nil
	}
	fmt.Fprintf(os.Stderr, "fetching Apache Kafka by Maven into %s: once, this takes a minute or so\n", home)
	pom, part := filepath.Join(home, "pom.xml"), filepath.Join(home, "libs.part")
	if err := errors.Join(os.RemoveAll(part), os.WriteFile(pom, apachePOM, 0o644)); err != nil {
		return "", "", err
	}
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+part)
	if out, err := mvn.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("fetch Apache Kafka (%s): %w\n%s", strings.Join(mvn.Args, " "), err, out)
	}
	// Renamed when complete, so that a run that was killed leaves nothing that looks whole.
	if err := os.Rename(part, dir); err != nil {
		return "", "", err
	}
	version, err = jarsVersion(dir)
	return dir, version, err
}

// jarsVersion reads Kafka's version from the name of its jar.
func jarsVersion(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "kafka-server-[0-9]*.jar"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s does not hold one kafka-server jar (%d found): %w", dir, len(found), errors.Join(err, os.ErrNotExist))
	}
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), "kafka-server-"), ".jar"), nil
}
