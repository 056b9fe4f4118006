package metal

var (
	selAlloc, selNew, selRelease, selRetain, selResponds             sel
	selInitUTF8, selUTF8String, selLocalizedDescription, selCode     sel
	selName, selWorkingSet, selMaxBuffer, selMaxGroupMemory          sel
	selUnified, selFamily, selAllocated                              sel
	selNewQueue, selNewLibrary, selNewFunction, selNewPipeline       sel
	selSetFastMath, selSetMathMode                                   sel
	selMaxThreads, selExecWidth, selStaticMemory                     sel
	selNewBuffer, selNewBufferNoCopy, selContents                    sel
	selCommandBuffer, selCommit, selWait, selStatus, selError        sel
	selGPUStart, selGPUEnd                                           sel
	selEncoder, selEncoderType, selEndEncoding                       sel
	selSetPipeline, selSetBuffer, selSetOffset, selSetBytes, selSetG sel
	selDispatch, selBarrier                                          sel
	selNewEvent, selSignaledValue, selEncodeSignal, selEncodeWait    sel
	selSetLabel                                                      sel
	selNewSet, selAddAllocation, selRemoveAll                        sel
	selRequestResidency, selEndResidency, selAddSet, selRemoveSet    sel
)

// selectors are every message that the binding sends.
var selectors = map[string]*sel{
	"alloc": &selAlloc, "new": &selNew, "release": &selRelease, "retain": &selRetain, "respondsToSelector:": &selResponds,
	"initWithUTF8String:": &selInitUTF8, "UTF8String": &selUTF8String, "localizedDescription": &selLocalizedDescription, "code": &selCode,

	"name": &selName, "recommendedMaxWorkingSetSize": &selWorkingSet, "maxBufferLength": &selMaxBuffer,
	"maxThreadgroupMemoryLength": &selMaxGroupMemory, "hasUnifiedMemory": &selUnified, "supportsFamily:": &selFamily,
	"currentAllocatedSize": &selAllocated,

	"newCommandQueue":                            &selNewQueue,
	"newLibraryWithSource:options:error:":        &selNewLibrary,
	"newFunctionWithName:":                       &selNewFunction,
	"newComputePipelineStateWithFunction:error:": &selNewPipeline,
	"setFastMathEnabled:":                        &selSetFastMath,
	"setMathMode:":                               &selSetMathMode,
	"maxTotalThreadsPerThreadgroup":              &selMaxThreads,
	"threadExecutionWidth":                       &selExecWidth,
	"staticThreadgroupMemoryLength":              &selStaticMemory,

	"newBufferWithLength:options:":                         &selNewBuffer,
	"newBufferWithBytesNoCopy:length:options:deallocator:": &selNewBufferNoCopy,
	"contents": &selContents,

	"commandBufferWithUnretainedReferences": &selCommandBuffer, "commit": &selCommit, "waitUntilCompleted": &selWait,
	"status": &selStatus, "error": &selError, "GPUStartTime": &selGPUStart, "GPUEndTime": &selGPUEnd,

	"computeCommandEncoder":                       &selEncoder,
	"computeCommandEncoderWithDispatchType:":      &selEncoderType,
	"endEncoding":                                 &selEndEncoding,
	"setComputePipelineState:":                    &selSetPipeline,
	"setBuffer:offset:atIndex:":                   &selSetBuffer,
	"setBufferOffset:atIndex:":                    &selSetOffset,
	"setBytes:length:atIndex:":                    &selSetBytes,
	"setThreadgroupMemoryLength:atIndex:":         &selSetG,
	"dispatchThreadgroups:threadsPerThreadgroup:": &selDispatch,
	"memoryBarrierWithScope:":                     &selBarrier,
	"setLabel:":                                   &selSetLabel,

	"newSharedEvent": &selNewEvent, "signaledValue": &selSignaledValue,
	"encodeSignalEvent:value:": &selEncodeSignal, "encodeWaitForEvent:value:": &selEncodeWait,

	"newResidencySetWithDescriptor:error:": &selNewSet, "addAllocation:": &selAddAllocation, "removeAllAllocations": &selRemoveAll,
	"requestResidency": &selRequestResidency, "endResidency": &selEndResidency,
	"addResidencySet:": &selAddSet, "removeResidencySet:": &selRemoveSet,
}
