package run

import (
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// whyIn is what a step is for, in that language. The English stands in the tables of package stage, which PID 1 carries; every other language stands
// here, outside of the sandbox, by the name of the step. why_test.go holds the two together.
func whyIn(language lang.Lang, e stage.Event) string {
	if language == lang.Chinese {
		if text := whyChinese(e.Step); text != "" {
			return text
		}
	}
	return e.Why
}

// whyChinese is a switch and no map, which would be made before main of every verb.
func whyChinese(step string) string {
	switch step {
	case "clone":
		return "一次调用，造出进程和它新的命名空间"
	case "join":
		return "这些命名空间属于另一个容器，首先要进入拥有它们的用户命名空间"
	case "id-map":
		return "里面的 root 在外面就是你；其余的 id 来自你的附属 id 段"
	case "become-root":
		return "成为这个用户命名空间里的 0 号用户；出了这里谁也不是"
	case "private-mounts":
		return "我们挂载的东西，一件也不会传回宿主机"
	case "gather":
		return "来自宿主机的东西现在统统带上，暂时不挂在任何地方"
	case "overlay":
		return "下面是镜像各层，上面是这个容器自己的写入"
	case "fill-volumes":
		return "新的命名卷，先装上镜像在那个位置的内容"
	case "pivot-root":
		return "从这里起，再也够不着宿主机的目录树"
	case "chroot":
		return "只换了这个进程的根：挂载命名空间的根还是宿主机的"
	case "proc":
		return "一个只显示本 pid 命名空间的 /proc"
	case "dev":
		return "几个无害的设备、终端，以及自己的共享内存"
	case "sys":
		return "内核眼中的设备和控制组，只读"
	case "volumes":
		return "用户共享的目录，以及只存在于内存里的目录"
	case "files":
		return "名字与解析：/etc/hosts、/etc/hostname、/etc/resolv.conf"
	case "mask":
		return "/proc 和 /sys 里会泄露宿主机情况的部分，盖起来"
	case "console":
		return "一个自己的终端，另一头握在用户手里"
	case "read-only":
		return "用户要求只读的，镜像内容就改不了"
	case "hostname":
		return "给 UTS 命名空间起名字"
	case "loopback":
		return "新的网络命名空间只有一个接口，而且是关着的"
	case "sysctls":
		return "内核里属于这些命名空间的设置，在还写得了的时候写好"
	case "user":
		return "程序以谁的身份运行，由镜像自己的 /etc/passwd 说了算"
	case "workdir":
		return "程序从哪个目录开始"
	case "find-command":
		return "到底执行哪个文件，由容器的 PATH 决定"
	case "oom-score":
		return "内存耗尽时，内核先杀谁"
	case "join-pids":
		return "要和谁的进程住在一起：能进入 pid 命名空间的只有子进程"
	case "gate":
		return "能跟踪 1 号进程的程序，要等 1 号进程的权力不比它大时才启动"
	case "signals":
		return "命令不会继承被我们忽略或阻塞的信号"
	case "session":
		return "自己的会话：用户的终端不归它控制"
	case "limits":
		return "资源限制和文件权限掩码"
	case "early-seccomp":
		return "没有 no_new_privs 时，只有带能力的进程才能装上过滤器"
	case "bound-capabilities":
		return "不在边界集合里的能力，再也回不来"
	case "credentials":
		return "先附加组，再 gid，最后 uid：顺序反了就来不及了"
	case "capabilities":
		return "容器里的 root，只有 Docker 给的那几样权力"
	case "no-new-privs":
		return "镜像里的 set-uid 程序也不能再把权力要回来"
	case "descriptors":
		return "我们或调用者打开的描述符，一个也不带过去"
	case "among":
		return "从这里起别的进程能看见它：此时它能做的已经不比命令更多"
	case "seccomp":
		return "放在最后：上面各步都要用到它禁止的调用"
	case "exec":
		return "从这里起，我们就是那个程序了"
	}
	return ""
}
