// Package kube moves clients that run in Kubernetes: it scales Deployments and
// StatefulSets to 0 and proves that no pod is left, scales them up to what they
// were, restarts them in place, and keeps the ConfigMap from which they read where
// the active site is.
//
// What must outlive a worker stands in annotations of the workload itself, written
// by the same patch as the change that they belong to. Every call looks first, so
// that it may be made any number of times, and leaves alone what was asked for later:
// see Request.
//
// No pod is left when a workload's controller has seen that it is to have none, counts
// none, and then none is listed. ReplicaSets in between are not looked at: the worker
// would need a right on them.
//
// Not looked at: a HorizontalPodAutoscaler (Kubernetes has it rest while a workload
// has 0 replicas, and go on afterwards) and a PodDisruptionBudget (it binds
// evictions, neither scaling nor restarts). Whoever else sets replicas (KEDA, a
// GitOps controller) is seen by its effect: pods that come back.
//
// Start reading at Open, Namespace.Stop and Namespace.Start.
package kube
