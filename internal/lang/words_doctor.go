package lang

// chineseDoctor are the sentences of doctor: titles, why they matter, the evidence, and advice that is no command.
func chineseDoctor(format string) string {
	switch format {
	case "so: %s":
		return "影响：%s"
	case "fix:":
		return "修复："
	case "# install %s":
		return "# 安装 %s"

	case "Linux 5.12 or newer":
		return "Linux 5.12 或更新"
	case "mounts are made by calls that came with it (mount_setattr), and overlay in a user namespace came with 5.11":
		return "挂载要用随它而来的系统调用（mount_setattr）；用户命名空间里的 overlay 是 5.11 才有的"
	case "%s: %s, want 5.12 or newer":
		return "%s：%s，应为 5.12 或更新"
	case "# upgrade to a distribution with a newer kernel: Debian 12, Ubuntu 22.04, Fedora 34, RHEL 9 or later":
		return "# 换用内核较新的发行版：Debian 12、Ubuntu 22.04、Fedora 34、RHEL 9 或更高版本"

	case "user namespaces":
		return "用户命名空间"
	case "a container's root is an ordinary user outside, and nothing runs without that":
		return "容器里的 root 在外面是普通用户；没有它，什么也运行不了"
	case "%s: works":
		return "%s：可用"

	case "a /proc that is whole":
		return "完整的 /proc"
	case "the kernel mounts a container's own proc only where another one is in sight with nothing of it covered":
		return "只有在看得到另一个毫无遮盖的 proc 时，内核才允许容器挂载自己的 proc"
	case "%s: a proc with nothing of it covered":
		return "%s：有一个毫无遮盖的 proc"
	case "%s is mounted read-only":
		return "%s 是只读挂载的"
	case "%s is covered by a %s, want nothing mounted there":
		return "%s 被 %s 盖住了，那里不应有挂载"
	case "no whole proc is mounted, want one at /proc":
		return "没有挂载完整的 proc，/proc 应有一个"
	case "# run minipod outside of this container, or start the container with its /proc uncovered:":
		return "# 在这个容器之外运行 minipod，或者启动容器时不遮盖它的 /proc："

	case "subordinate ids":
		return "附属 ID"
	case "with one id a container has only root: files of other owners become root's, and programs can't change user":
		return "只有一个 ID 时，容器里只有 root：别人的文件都归 root，程序也无法切换用户"
	case "user ids for a container: %d, want %d or more":
		return "容器可用的用户 ID：%d 个，应有 %d 个或更多"
	case "group ids for a container: %d, want %d or more":
		return "容器可用的组 ID：%d 个，应有 %d 个或更多"
	case "# let the lines of %s in /etc/subuid and /etc/subgid end in :%d, where no other user's range is in the way":
		return "# 让 /etc/subuid 和 /etc/subgid 里 %s 的那一行以 :%d 结尾，注意不要和其他用户的段重叠"
	case "# then remove and pull again what was unpacked under the old ones: minipod rmi IMAGE":
		return "# 然后删掉在旧段下解包的镜像，重新拉取：minipod rmi IMAGE"

	case "newuidmap and newgidmap":
		return "newuidmap 和 newgidmap"
	case "only these two programs may map the subordinate ids into a namespace":
		return "只有这两个程序可以把附属 ID 映射进命名空间"
	case "there are no ranges to map":
		return "没有可以映射的段"
	case "root of a namespace writes the maps itself":
		return "命名空间的 root 自己写映射"
	case "/proc/self/status: NoNewPrivs: 1, want 0: no set-uid program gains anything below this shell":
		return "/proc/self/status：NoNewPrivs: 1，应为 0：在这个 shell 下面，set-uid 程序得不到任何特权"
	case "# start minipod from a shell that was not started with no_new_privs (systemd: NoNewPrivileges=no)":
		return "# 从没有设置 no_new_privs 的 shell 启动 minipod（systemd：NoNewPrivileges=no）"
	case "%s: mode %v, want set-uid root or file capabilities":
		return "%s：模式 %v，应为 set-uid root 或带有文件能力"
	case "%s: on a file system that is mounted nosuid":
		return "%s：所在文件系统以 nosuid 挂载"
	case "# mount it without nosuid: findmnt --target %s":
		return "# 挂载时不要带 nosuid：findmnt --target %s"
	case "%s: privileged":
		return "%s：有特权"

	case "seccomp filters":
		return "seccomp 过滤器"
	case "every container gets Docker's filter of system calls, and does not start without":
		return "每个容器都带着 Docker 的系统调用过滤器，没有它就不启动"
	case "%s: %q, want errno and allow among them":
		return "%s：%q，其中应有 errno 和 allow"
	case "# boot your distribution's own kernel: this one lacks CONFIG_SECCOMP_FILTER":
		return "# 启动发行版自带的内核：这一个没有 CONFIG_SECCOMP_FILTER"

	case "overlay in a user namespace":
		return "用户命名空间里的 overlay"
	case "without it each container copies its image, or each file goes through a program":
		return "没有它，每个容器都要复制一份镜像，或者每个文件都要经过一个程序"
	case "not tried: it takes a user namespace":
		return "没有尝试：需要用户命名空间"
	case "test mount with whiteouts, opaque folders and copy-up below %s: works":
		return "在 %s 下试挂载（白障、不透明目录、copy-up）：可用"
	case "option volatile: refused; stopping a container that wrote much is slower":
		return "选项 volatile：被拒绝；停止写入很多的容器会慢一些"
	case "test mount below %s: %s":
		return "在 %s 下试挂载：%s"
	case "# keep the data folder on ext4, xfs or btrfs: export MINIPOD_ROOT=/a/folder/there":
		return "# 把数据目录放在 ext4、xfs 或 btrfs 上：export MINIPOD_ROOT=/a/folder/there"

	case "fuse-overlayfs":
		return "fuse-overlayfs"
	case "where the kernel's overlay does not work it saves copying the image":
		return "内核的 overlay 不可用时，有了它就不必复制镜像"
	case "not needed: the kernel's overlay works":
		return "不需要：内核的 overlay 可用"
	case "%s: installed":
		return "%s：已安装"
	case "%s: opens":
		return "%s：能打开"
	case "%s, want it open for reading and writing":
		return "%s，应能读写"
	case "# install the package that Debian calls %s and Fedora %s":
		return "# 安装这个软件包：Debian 上叫 %s，Fedora 上叫 %s"

	case "the data folder":
		return "数据目录"
	case "images are unpacked there, with owners, attributes and modes that not every file system keeps":
		return "镜像在那里解包，带着所有者、扩展属性和模式，并非每种文件系统都能保留"
	case "# let MINIPOD_ROOT name a folder that you may write to":
		return "# 让 MINIPOD_ROOT 指向一个你能写的目录"
	case "%s: %.1f GiB free, want %d or more":
		return "%s：空闲 %.1f GiB，应有 %d 或更多"
	case "# keep the data folder on a local disk: export MINIPOD_ROOT=/a/folder/there":
		return "# 把数据目录放在本地磁盘上：export MINIPOD_ROOT=/a/folder/there"
	case "# remove images that you don't use: minipod image prune -a":
		return "# 删掉不用的镜像：minipod image prune -a"
	case "mounted noexec, so that no copied program runs":
		return "以 noexec 挂载，复制过去的程序都无法运行"
	case "mounted read-only":
		return "只读挂载"
	case "NFS: the server knows nothing of subordinate ids and refuses their files":
		return "NFS：服务器不认识附属 ID，会拒绝它们的文件"

	case "/dev/net/tun":
		return "/dev/net/tun"
	case "a network of the pod's own reaches the world through it (--network none and host do not)":
		return "Pod 自己的网络经它通往外界（--network none 和 host 不需要）"

	case "cgroup v2 and delegation":
		return "cgroup v2 及其委派"
	case "limits of memory, processors and processes need controllers that are yours":
		return "限制内存、处理器和进程数，需要归你使用的控制器"
	case "%s: not cgroup v2 alone (stat -f -c %%T %s; want cgroup2fs)":
		return "%s：不是单独的 cgroup v2（stat -f -c %%T %s；应为 cgroup2fs）"
	case "%s: %q, want %s among them":
		return "%s：%q，其中应有 %s"
	case "# mount cgroup v2, and no v1 controller, at /sys/fs/cgroup (man 7 cgroups)":
		return "# 在 /sys/fs/cgroup 只挂载 cgroup v2，不挂 v1 控制器（man 7 cgroups）"
	case "# without systemd somebody with root must make a group for you and chown it (man 7 cgroups, Delegation)":
		return "# 没有 systemd 时，要由有 root 权限的人为你建一个组并 chown 给你（man 7 cgroups，Delegation）"
	case "# log out of every session and in again":
		return "# 退出所有会话，重新登录"

	case "XDG_RUNTIME_DIR":
		return "XDG_RUNTIME_DIR"
	case "sockets and locks belong into a folder that a reboot clears; else they go below the data folder":
		return "套接字和锁应当放在重启时会清空的目录里；否则放在数据目录下"
	case "# without a session of systemd or elogind this is as it should be":
		return "# 没有 systemd 或 elogind 会话时，这样是正常的"
	case "XDG_RUNTIME_DIR is not set; sockets go to %s":
		return "没有设置 XDG_RUNTIME_DIR；套接字放在 %s"
	case "%s: mode %v, want drwx------":
		return "%s：模式 %v，应为 drwx------"

	case "lingering":
		return "linger（注销后保留）"
	case "systemd ends your processes, background containers among them, when you log out":
		return "你注销时，systemd 会结束你的进程，后台容器也在内"
	case "/run/systemd/system: missing, so nobody ends your processes at logout":
		return "/run/systemd/system：不存在，所以注销时没人结束你的进程"
	case "%s: exists":
		return "%s：存在"
	case "%s: missing":
		return "%s：不存在"

	case "registries":
		return "镜像仓库"
	case "images come from there; what is stored already runs without":
		return "镜像从那里来；已经存下来的，没有它也能运行"
	case "%s: answers":
		return "%s：有应答"
	case "# a proxy is taken from the environment: export HTTPS_PROXY=http://HOST:PORT":
		return "# 代理取自环境变量：export HTTPS_PROXY=http://HOST:PORT"
	case "# or name a mirror in %s: %s":
		return "# 或者在 %s 里写明镜像站：%s"
	}
	return ""
}
