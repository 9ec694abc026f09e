// Command kube-dev is a Kubernetes in one process for tests: the real kube-apiserver on an embedded etcd, and the real
// controllers of Deployments, ReplicaSets and StatefulSets. There is no scheduler and no kubelet: kubelet.go says what
// stands in for them. RBAC is on; the admission plugin ServiceAccount is off, since nobody makes default accounts here.
//
//	kube-dev <folder> <port> <port> <port>
//
// The ports are of loopback: the API server's, etcd's for clients and etcd's for peers. It serves until it is killed.
// <folder>/kubeconfig, of a super user, appears when all is up.
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/statefulset"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: kube-dev <folder> <port> <port> <port>")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "kube-dev:", err)
		os.Exit(1)
	}
}

func run(dir, port string, etcdPorts []string) error {
	etcd, err := startEtcd(filepath.Join(dir, "etcd"), etcdPorts[0], etcdPorts[1])
	if err != nil {
		return err
	}
	defer etcd.Close()
	token, args, err := flags(dir, etcd.Config().ListenClientUrls[0].String(), port)
	if err != nil {
		return err
	}
	server := app.NewAPIServerCommand() // ends with SIGTERM
	server.SetArgs(args)
	ended := make(chan error, 1)
	go func() { ended <- server.Execute() }()
	cfg := &rest.Config{
		Host: "https://127.0.0.1:" + port, BearerToken: token, QPS: 500, Burst: 500,
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(dir, "apiserver.crt")},
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		if err := serve(ctx, cfg, dir); err != nil {
			ended <- err
		}
	}()
	return <-ended
}

// flags writes the files that the API server is told of.
func flags(dir, etcd, port string) (token string, args []string, err error) {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", nil, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", nil, err
	}
	token = hex.EncodeToString(raw)
	tokens, keyFile := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "accounts.key")
	if err := os.WriteFile(tokens, []byte(token+`,admin,1,"system:masters"`+"\n"), 0o600); err != nil {
		return "", nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(keyFile, text, 0o600); err != nil {
		return "", nil, err
	}
	return token, []string{
		"--etcd-servers=" + etcd, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + port, "--cert-dir=" + dir,
		"--token-auth-file=" + tokens, "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + keyFile, "--service-account-signing-key-file=" + keyFile,
		"--service-cluster-ip-range=10.0.0.0/24", "--shutdown-delay-duration=0s",
	}, nil
}

// serve waits for the API server, starts controllers and kubelet, and says so.
func serve(ctx context.Context, cfg *rest.Config, dir string) error {
	client, err := ready(ctx, cfg)
	if err != nil {
		return err
	}
	all := informers.NewSharedInformerFactory(client, 0)
	deployments, err := deployment.NewDeploymentController(ctx, all.Apps().V1().Deployments(), all.Apps().V1().ReplicaSets(), all.Core().V1().Pods(), client)
	if err != nil {
		return err
	}
	replicaSets := replicaset.NewReplicaSetController(ctx, all.Apps().V1().ReplicaSets(), all.Core().V1().Pods(), client, 100)
	statefulSets := statefulset.NewStatefulSetController(ctx, all.Core().V1().Pods(), all.Apps().V1().StatefulSets(), all.Core().V1().PersistentVolumeClaims(), all.Apps().V1().ControllerRevisions(), client)
	all.Start(ctx.Done())
	all.WaitForCacheSync(ctx.Done())
	go deployments.Run(ctx, 2)
	go replicaSets.Run(ctx, 2)
	go statefulSets.Run(ctx, 2)
	go kubelet(ctx, client)
	return keepConfig(cfg, dir)
}

// ready waits for the API server, which makes its certificate as it starts.
func ready(ctx context.Context, cfg *rest.Config) (*kubernetes.Clientset, error) {
	for {
		client, err := kubernetes.NewForConfig(cfg)
		if err == nil {
			_, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		}
		if err == nil {
			return client, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// keepConfig writes the kubeconfig, whole at once.
func keepConfig(cfg *rest.Config, dir string) error {
	c := api.NewConfig()
	c.Clusters["kube-dev"] = &api.Cluster{Server: cfg.Host, CertificateAuthority: cfg.CAFile}
	c.AuthInfos["admin"] = &api.AuthInfo{Token: cfg.BearerToken}
	c.Contexts["kube-dev"] = &api.Context{Cluster: "kube-dev", AuthInfo: "admin"}
	c.CurrentContext = "kube-dev"
	half := filepath.Join(dir, "kubeconfig.part")
	if err := clientcmd.WriteToFile(*c, half); err != nil {
		return err
	}
	return os.Rename(half, filepath.Join(dir, "kubeconfig"))
}
