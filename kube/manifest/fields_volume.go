package manifest

// volumeFields are those of volumes.
func volumeFields() []Field {
	const (
		noUser  = "files belong to the pod's root, or to fsGroup: leave it out"
		noToken = "there is no API server to have an account at: leave this source out"
	)
	fields := []Field{
		{Type: "Volume", Name: "name", Support: Done},
		{Type: "VolumeSource", Name: "hostPath", Support: Done, Note: "what you may read and write, pods may"},
		{Type: "VolumeSource", Name: "emptyDir", Support: Done},
		{Type: "VolumeSource", Name: "secret", Support: Done, Note: "in memory"},
		{Type: "VolumeSource", Name: "persistentVolumeClaim", Support: Done, Note: "a named volume: `minipod volume ls`"},
		{Type: "VolumeSource", Name: "downwardAPI", Support: Done},
		{Type: "VolumeSource", Name: "configMap", Support: Done},
		{Type: "VolumeSource", Name: "projected", Support: Done},
		{Type: "VolumeSource", Name: "ephemeral", Support: Refused, Note: "there are no storage classes: use emptyDir, or a persistentVolumeClaim"},
		{Type: "VolumeSource", Name: "image", Support: Done, Note: "a copy of its files, read-only and noexec"},
		{Type: "VolumeSource", Name: "gitRepo", Support: Refused, Note: "clone it in an init container, to an emptyDir"},
		{Type: "VolumeSource", Name: "csi", Support: Refused, Note: "there are no CSI drivers: mount the storage on the host and use hostPath"},
		{Type: "VolumeSource", Name: "flexVolume", Support: Refused, Note: "there are no drivers: mount the storage on the host and use hostPath"},
	}
	for _, storage := range []string{
		"awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "fc", "flocker", "gcePersistentDisk", "glusterfs", "iscsi", "nfs",
		"photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
	} {
		fields = append(fields, Field{Type: "VolumeSource", Name: storage, Support: Refused, Note: "mounting it takes root: mount it on the host and use hostPath"})
	}
	return append(fields, []Field{
		{Type: "ImageVolumeSource", Name: "reference", Support: Done},
		{Type: "ImageVolumeSource", Name: "pullPolicy", Support: Done},
		{Type: "HostPathVolumeSource", Name: "path", Support: Done},
		{Type: "HostPathVolumeSource", Name: "type", Support: Done},
		{Type: "EmptyDirVolumeSource", Name: "medium", Support: Done, Note: "Memory"},
		{Type: "EmptyDirVolumeSource", Name: "medium", Value: "HugePages*", Support: Refused, Note: "huge pages are not handed out"},
		{Type: "EmptyDirVolumeSource", Name: "sizeLimit", Support: Done},
		{Type: "EmptyDirVolumeSource", Name: "mode", Support: Done},
		{Type: "SecretVolumeSource", Name: "secretName", Support: Done},
		{Type: "SecretVolumeSource", Name: "items", Support: Done},
		{Type: "SecretVolumeSource", Name: "defaultMode", Support: Done},
		{Type: "SecretVolumeSource", Name: "optional", Support: Done},
		{Type: "SecretVolumeSource", Name: "defaultUser", Support: Refused, Note: noUser},
		{Type: "ConfigMapVolumeSource", Name: "items", Support: Done},
		{Type: "ConfigMapVolumeSource", Name: "defaultMode", Support: Done},
		{Type: "ConfigMapVolumeSource", Name: "optional", Support: Done},
		{Type: "ConfigMapVolumeSource", Name: "defaultUser", Support: Refused, Note: noUser},
		{Type: "KeyToPath", Name: "key", Support: Done},
		{Type: "KeyToPath", Name: "path", Support: Done},
		{Type: "KeyToPath", Name: "mode", Support: Done},
		{Type: "KeyToPath", Name: "user", Support: Refused, Note: noUser},
		{Type: "PersistentVolumeClaimVolumeSource", Name: "claimName", Support: Done},
		{Type: "PersistentVolumeClaimVolumeSource", Name: "readOnly", Support: Done},
		{Type: "DownwardAPIVolumeSource", Name: "items", Support: Done},
		{Type: "DownwardAPIVolumeSource", Name: "defaultMode", Support: Done},
		{Type: "DownwardAPIVolumeSource", Name: "defaultUser", Support: Refused, Note: noUser},
		{Type: "DownwardAPIVolumeFile", Name: "path", Support: Done},
		{Type: "DownwardAPIVolumeFile", Name: "fieldRef", Support: Done},
		{Type: "DownwardAPIVolumeFile", Name: "resourceFieldRef", Support: Done},
		{Type: "DownwardAPIVolumeFile", Name: "mode", Support: Done},
		{Type: "DownwardAPIVolumeFile", Name: "user", Support: Refused, Note: noUser},
		{Type: "ProjectedVolumeSource", Name: "sources", Support: Done},
		{Type: "ProjectedVolumeSource", Name: "defaultMode", Support: Done},
		{Type: "ProjectedVolumeSource", Name: "defaultUser", Support: Refused, Note: noUser},
		{Type: "VolumeProjection", Name: "secret", Support: Done},
		{Type: "VolumeProjection", Name: "downwardAPI", Support: Done},
		{Type: "VolumeProjection", Name: "configMap", Support: Done},
		{Type: "VolumeProjection", Name: "serviceAccountToken", Support: Refused, Note: noToken},
		{Type: "VolumeProjection", Name: "clusterTrustBundle", Support: Refused, Note: "there are no trust bundles: use a configMap"},
		{Type: "VolumeProjection", Name: "podCertificate", Support: Refused, Note: "nobody signs certificates: use a secret"},
		{Type: "SecretProjection", Name: "items", Support: Done},
		{Type: "SecretProjection", Name: "optional", Support: Done},
		{Type: "ConfigMapProjection", Name: "items", Support: Done},
		{Type: "ConfigMapProjection", Name: "optional", Support: Done},
		{Type: "DownwardAPIProjection", Name: "items", Support: Done},
	}...)
}
