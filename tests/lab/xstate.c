/* SPDX-License-Identifier: Apache-2.0
 *
 * Lets User Mode Linux run on processors with AMX: preloaded into its kernel, which is an ordinary program.
 *
 * It keeps 2696 bytes of extended state for each process (x87 to PKRU). PTRACE_SETREGSET takes a whole standard-format
 * XSAVE area or nothing (arch/x86/kernel/fpu/regset.c, xstateregs_set), and AMX makes that 11008 bytes: the very
 * first return to user space fails with EFAULT, and the guest's process 1 is killed by SIGSEGV. What is missing is
 * filled up here with zeros. AMX itself has to be asked for (arch_prctl(2)) by each process, and a guest's cannot ask.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { MOST = 65536, XSTATE_BV = 512, FIRST_AMX_BIT = 17 };

static long (*next)(int, ...);

static size_t whole_size(pid_t pid)
{
	static size_t size;
	static char area[MOST];
	struct iovec all = { area, sizeof(area) };

	if (!size && next(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &all) == 0)
		size = all.iov_len;
	return size;
}

static long set_xstate(pid_t pid, const struct iovec *given)
{
	static _Alignas(64) char area[MOST];
	struct iovec whole = { area, whole_size(pid) };
	uint64_t present;

	if (given->iov_len >= whole.iov_len || given->iov_len < XSTATE_BV + sizeof(present))
		return next(PTRACE_SETREGSET, pid, NT_X86_XSTATE, given);
	memcpy(area, given->iov_base, given->iov_len);
	memcpy(&present, area + XSTATE_BV, sizeof(present));
	present &= (1ULL << FIRST_AMX_BIT) - 1;
	memcpy(area + XSTATE_BV, &present, sizeof(present));
	return next(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	pid_t pid;
	void *address, *data;

	va_start(arguments, request);
	pid = va_arg(arguments, pid_t);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);
	if (!next)
		next = (long (*)(int, ...))dlsym(RTLD_NEXT, "ptrace");
	if (request == PTRACE_SETREGSET && (uintptr_t)address == NT_X86_XSTATE)
		return set_xstate(pid, data);
	return next(request, pid, address, data);
}
